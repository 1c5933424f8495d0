"""The service's unit, through systemctl."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import DependencyError
from edge_runtime.installation.layout import UNIT

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "NRestarts",
    "MainPID",
    "Result",
    "ExecMainStatus",
    "ExecStart",
)
SHOW_S = 30.0
RESTART_S = 180.0  # starting waits for the first frame: longer than the unit's own limits on stop and start
POLL_S = 0.1

Check = Callable[[], None]


@dataclass(frozen=True)
class UnitState:
    """What systemd says.

    Attributes:
        installed: whether there is such a unit.
        active: whether it runs.
        activity: "active (running)", "failed (failed)", …
        restarts: by systemd itself, since somebody started it; None if it does not tell.
        pid: of the tracker; 0 if it does not run.
        result: "success", "exit-code", "watchdog", …
        status: exit code or signal of the last process.
        config: the settings that it runs with; None if it is started without.
    """

    installed: bool
    active: bool
    activity: str
    restarts: int | None
    pid: int
    result: str
    status: str
    config: Path | None


class Unit:
    """`cfvgg-edge.service` of the running system."""

    def __init__(self) -> None:
        self._started_unix = time.time()

    def state(self) -> UnitState:
        """As it is now; not installed where systemd does not answer."""
        try:
            done = _systemctl(("show", UNIT, "-p", ",".join(PROPERTIES)), SHOW_S)
        except (OSError, subprocess.TimeoutExpired):
            return parsed("")
        return parsed(done.stdout)

    def restart(self, check: Check = lambda: None) -> str | None:
        """Start it, anew if it runs, and wait until it is ready.

        Args:
            check: called all the while; what it raises ends the waiting, not the restart.

        Returns:
            Why it did not become ready; None if it did.

        Raises:
            DependencyError: there is no systemctl.
        """
        self._started_unix = time.time()
        # After many failures systemd would refuse.
        self._quietly("reset-failed")
        return self._wait("restart", check)

    def restart_if_active(self) -> None:
        """Start it anew if it runs; whatever goes wrong is no concern of the caller's."""
        self._quietly("try-restart")

    def stop(self) -> None:
        """Stop it, and forget that it failed."""
        self._quietly("stop")
        self._quietly("reset-failed")

    def last_words(self) -> str:
        """The last line that the tracker has written since `restart`; "" if the journal has none."""
        since = f"--since=@{self._started_unix:.0f}"
        command = ("journalctl", "-q", "--no-pager", "-ocat", "-n50", "-u", UNIT, since)
        try:
            done = _run(command, SHOW_S)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        said = [line for line in done.stdout.splitlines() if line.startswith("cfvgg-edge: ")]
        return said[-1].removeprefix("cfvgg-edge: ") if said else ""

    def _quietly(self, verb: str) -> None:
        try:
            _systemctl((verb, UNIT), RESTART_S)
        except (OSError, subprocess.TimeoutExpired):
            return

    def _wait(self, verb: str, check: Check) -> str | None:
        try:
            process = subprocess.Popen(
                ("systemctl", verb, UNIT),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env=os.environ | {"LC_ALL": "C"},
            )
        except OSError as error:
            raise DependencyError(
                f"systemctl cannot be run ({error.strerror})", fix="use --no-restart"
            ) from error
        deadline_s = time.monotonic() + RESTART_S
        try:
            while process.poll() is None:
                check()
                if time.monotonic() > deadline_s:
                    return f"systemctl {verb} took more than {RESTART_S:g} s"
                time.sleep(POLL_S)
        finally:
            process.kill()
            _, said = process.communicate()
        if process.returncode == 0:
            return None
        lines = said.strip().splitlines() or [f"systemctl {verb}: exit code {process.returncode}"]
        return lines[0]


def parsed(shown: str) -> UnitState:
    """What `systemctl show` has printed of the `PROPERTIES`."""
    said = dict(line.partition("=")[::2] for line in shown.splitlines())
    restarts, pid = said.get("NRestarts", ""), said.get("MainPID", "")
    return UnitState(
        installed=said.get("LoadState") == "loaded",
        active=said.get("ActiveState") == "active",
        activity=f"{said.get('ActiveState', 'unknown')} ({said.get('SubState', 'unknown')})",
        restarts=int(restarts) if restarts.isdecimal() else None,
        pid=int(pid) if pid.isdecimal() else 0,
        result=said.get("Result", ""),
        status=said.get("ExecMainStatus", ""),
        config=_config(said.get("ExecStart", "")),
    )


def _config(exec_start: str) -> Path | None:
    """The value of --config in `{ path=… ; argv[]=… ; … }`."""
    _, _, line = exec_start.partition("argv[]=")
    try:
        words = shlex.split(line.partition(" ; ")[0])
    except ValueError:
        return None
    for word, following in itertools.pairwise(words):
        if word == "--config":
            return Path(following)
    return None


def _systemctl(arguments: tuple[str, ...], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return _run(("systemctl", *arguments), timeout_s)


def _run(command: tuple[str, ...], timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,  # which may be somebody's lifeline
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=timeout_s,
        start_new_session=True,  # an interrupt is for us to handle
        env=os.environ | {"LC_ALL": "C"},
    )
