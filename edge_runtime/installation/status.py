"""How the service is doing, as systemd tells it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.config import load_config
from edge_runtime.errors import CfvggError
from edge_runtime.installation.dropin import dropin
from edge_runtime.installation.layout import UNIT, Layout, packaged, program
from edge_runtime.installation.needs import needs

PROPERTIES = (
    "ActiveState",
    "SubState",
    "StatusText",
    "UnitFileState",
    "NRestarts",
    "Result",
    "ExecMainStatus",
    "MainPID",
    "WatchdogUSec",
    "ActiveEnterTimestamp",
    "MemoryCurrent",
    "NeedDaemonReload",
)
LAST_EXIT = ("journalctl", "-q", "--no-pager", "-ocat", "-n1", f"-u{UNIT}", "-gMain process exited")

# The output of a program; "" if it cannot be run.
Ask = Callable[..., str]


@dataclass(frozen=True)
class ServiceStatus:
    """What is installed, and what systemd says about it.

    Attributes:
        installed: whether the unit is there.
        differs: files that are not what `service install` would write now.
        properties: of the unit, `systemctl show`; empty without systemd.
        last_exit: the journal's last line about an end of the process; "" if there is none.
    """

    installed: bool
    differs: tuple[Path, ...]
    properties: Mapping[str, str]
    last_exit: str

    @property
    def active(self) -> bool:
        """Whether it runs."""
        return self.properties.get("ActiveState") == "active"


def service_status(layout: Layout, ask: Ask | None = None) -> ServiceStatus:
    """The status now.

    Args:
        layout: of the system; systemd is asked only about the running one.
        ask: runs a program, for tests.
    """
    installed = layout.unit.is_file()
    ask = ask or (run if layout.live else None)
    properties, last_exit = {}, ""
    if installed and ask is not None:
        shown = ask("systemctl", "show", UNIT, "-p", ",".join(PROPERTIES))
        properties = dict(line.partition("=")[::2] for line in shown.splitlines())
        last_exit = ask(*LAST_EXIT).strip()
    return ServiceStatus(installed, tuple(_differing(layout)) if installed else (), properties, last_exit)


def describe(status: ServiceStatus, layout: Layout) -> str:
    """A screen for a person."""
    return "\n".join(f"{name:<10} {text}" for name, text in _lines(status, layout))


def describe_short(status: ServiceStatus) -> str:
    """One line for a person."""
    if not status.installed:
        return "not installed"
    said = status.properties
    if not said:
        return "installed"
    enabled = said.get("UnitFileState") or "not enabled"
    return f"{enabled}, {_activity(said)}, {said.get('NRestarts', '?')} restarts"


def run(*arguments: str) -> str:
    """What a program prints; "" if it is not there or does not end."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _lines(status: ServiceStatus, layout: Layout) -> Iterator[tuple[str, str]]:
    if not status.installed:
        yield "installed", "no; install it with: sudo cfvgg-edge service install"
        return
    said = status.properties
    yield "installed", f"{layout.unit}, settings in {layout.config}"
    if status.differs:
        names = ", ".join(map(str, status.differs))
        yield "differs", f"{names}; bring it up to date with: sudo cfvgg-edge service install"
    if not said:
        yield "systemd", "does not tell"
        return
    yield "enabled", said.get("UnitFileState") or "unknown"
    yield "active", _activity(said)
    if said.get("ActiveState") == "failed":
        yield "see", f"journalctl -u {UNIT} -n 30"
    yield "restarts", said.get("NRestarts", "unknown")
    yield "last exit", status.last_exit.partition(": ")[2] or "none in the journal, as far as this user sees"
    yield "watchdog", said.get("WatchdogUSec", "unknown")
    if said.get("NeedDaemonReload") == "yes":
        yield "changed", "since systemd read it; run: sudo systemctl daemon-reload"


def _activity(said: Mapping[str, str]) -> str:
    state = f"{said.get('ActiveState', 'unknown')} ({said.get('SubState', '')})"
    if said.get("ActiveState") == "active":
        memory = said.get("MemoryCurrent", "")
        held = f", {int(memory) / 1e6:.0f} MB" if memory.isdecimal() else ""
        text = f": {said['StatusText']}" if said.get("StatusText") else ""
        return f"{state}, pid {said.get('MainPID')}, since {said.get('ActiveEnterTimestamp')}{held}{text}"
    if said.get("Result") not in (None, "", "success"):
        code = said.get("ExecMainStatus")
        return f"{state}: {said['Result']}, status {code}"
    return state


def _differing(layout: Layout) -> Iterator[Path]:
    for path, name in (
        (layout.unit, UNIT),
        (layout.sysusers, "cfvgg.sysusers"),
        (layout.rules, layout.rules.name),
    ):
        if not _holds(path, packaged(name).read_bytes()):
            yield path
    try:
        text = dropin(program(), needs(load_config(layout.config), layout), layout)
    except CfvggError:
        return  # settings that this user may not read, or that are wrong, which `doctor` says
    if not _holds(layout.dropin, text.encode()):
        yield layout.dropin


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
