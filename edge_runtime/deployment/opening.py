"""Opening a bundle as the service would, in a process of its own: a model may end the one that runs it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.errors import BundleError, CfvggError

OPENING_S = 180.0  # two seconds on a PC
KILL_FIRST = b"1000"  # of oom_score_adj: rather this one than the tracker
ENTRY = "from edge_runtime.deployment.opening import main; main()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
POLL_S = 0.1


def open_apart(
    bundle: Path, config: Path | None, check: Callable[[], None], timeout_s: float = OPENING_S
) -> None:
    """Open a bundle, and make the tracker of the settings with it.

    Args:
        bundle: its folder.
        config: the service's settings; None to open the bundle only.
        check: called all the while; it may raise.
        timeout_s: for all of it.

    Raises:
        BundleError: that fails, ends the process, or takes too long.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", ENTRY, str(bundle), *([str(config)] if config is not None else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,  # a pipe that nobody reads would fill
            start_new_session=True,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
        )
        deadline_s = time.monotonic() + timeout_s
        try:
            while process.poll() is None and time.monotonic() < deadline_s:
                check()
                time.sleep(POLL_S)
            late = process.poll() is None
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        errors = said.read().decode(errors="replace")
    if late:
        raise BundleError(f"could not be opened in {timeout_s:g} s", where=bundle)
    if process.returncode:
        raise BundleError(_reason(process.returncode, errors), where=bundle, fix="deploy another one")


def main() -> None:
    """In the process: arguments are the bundle's folder and, if there are any, the settings."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(KILL_FIRST)
    os.nice(10)  # the old bundle is at work beside it
    from edge_runtime.bundle import Bundle  # noqa: PLC0415 (after that)
    from edge_runtime.config import load_config  # noqa: PLC0415
    from edge_runtime.trackers import build_tracker  # noqa: PLC0415

    bundle = sys.argv[1]
    try:
        if len(sys.argv) == 2:
            Bundle.open(Path(bundle))
        else:
            build_tracker(load_config(Path(sys.argv[2]), {"model.bundle": bundle}))
    except CfvggError as error:
        sys.exit(str(error))


def _reason(code: int, said: str) -> str:
    last = said.strip().rpartition("\n")[2]
    if code < 0:
        return f"ends the program that opens it ({signal.Signals(-code).name})"
    return f"cannot be used here: {last:.300}" if last else f"cannot be used here (exit code {code})"
