"""Opening a bundle as the service would, in a process of its own: a model may end the one that runs it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from edge_runtime.errors import BundleError, CfvggError

OPENING_S = 180.0  # two seconds on a PC
KILL_FIRST = b"1000"  # of oom_score_adj: rather this one than the tracker
ENTRY = "from edge_runtime.deployment.opening import main; main()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
POLL_S = 0.1


def open_apart(
    bundle: Path,
    config: Path | None,
    check: Callable[[], None],
    *,
    rounds: int = 0,
    timeout_s: float = OPENING_S,
) -> float | None:
    """Open a bundle, and make the tracker of the settings with it.

    Args:
        bundle: its folder.
        config: the service's settings; None to open the bundle only.
        check: called all the while; it may raise.
        rounds: of 30 frames that the tracker is measured over, in the built-in scene; needs `config`.
        timeout_s: for all of it.

    Returns:
        95th percentile of the tracker's latency, ms; None unless it was measured.

    Raises:
        BundleError: that fails, ends the process, or takes too long.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    request = json.dumps({"bundle": str(bundle), "config": config and str(config), "rounds": rounds})
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", ENTRY, request],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=errors,  # a pipe that nobody reads would fill
            start_new_session=True,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
        )
        late = not _wait(process, check, timeout_s)
        said = [_text(file) for file in (answer, errors)]
    if late:
        raise BundleError(f"could not be opened in {timeout_s:g} s", where=bundle)
    if process.returncode:
        raise BundleError(_reason(process.returncode, said[1]), where=bundle, fix="deploy another one")
    return float(said[0]) if said[0] else None


def main() -> None:
    """In the process: from a request, as JSON in the first argument, to the latency on standard output."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(KILL_FIRST)
    os.nice(10)  # a tracker is at work beside it
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    request = json.loads(sys.argv[1])
    try:
        p95_ms = _open(Path(request["bundle"]), request["config"], request["rounds"])
    except CfvggError as error:
        sys.exit(str(error))
    if p95_ms is not None:
        print(p95_ms, file=answer, flush=True)


def _open(bundle: Path, file: str | None, rounds: int) -> float | None:
    # In the process only, and after it has made itself small.
    from edge_runtime.bench import measure  # noqa: PLC0415
    from edge_runtime.bundle import Bundle  # noqa: PLC0415
    from edge_runtime.config import load_config  # noqa: PLC0415
    from edge_runtime.features import configured_features  # noqa: PLC0415
    from edge_runtime.trackers import make_tracker  # noqa: PLC0415

    if file is None:
        Bundle.open(bundle)
        return None
    config = load_config(Path(file), {"model.bundle": str(bundle)})
    features = configured_features(config)
    make_tracker(config, features)
    if not rounds:
        return None
    size = (config.source.width, config.source.height)
    speeds = measure(functools.partial(make_tracker, config), {"it": features}, size, rounds)
    return speeds["it"].p95_ms


def _wait(process: subprocess.Popen[bytes], check: Callable[[], None], timeout_s: float) -> bool:
    """Whether the process ends in time; it has ended in any case then."""
    deadline_s = time.monotonic() + timeout_s
    try:
        while process.poll() is None and time.monotonic() < deadline_s:
            check()
            time.sleep(POLL_S)
        return process.poll() is not None
    finally:
        process.kill()
        process.wait()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip()


def _reason(code: int, said: str) -> str:
    last = said.rpartition("\n")[2]
    if code < 0:
        return f"ends the program that opens it ({signal.Signals(-code).name})"
    return f"cannot be used here: {last:.300}" if last else f"cannot be used here (exit code {code})"
