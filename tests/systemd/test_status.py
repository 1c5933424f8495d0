"""What `service status` says of a unit, from what systemd would answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.installation import needs as needs_module
from edge_runtime.installation.layout import UNIT, Layout
from edge_runtime.installation.service import install_steps
from edge_runtime.installation.status import describe, describe_short, service_status
from edge_runtime.installation.steps import perform

RUNNING = {
    "ActiveState": "active",
    "SubState": "running",
    "StatusText": "tracking at 30 Hz",
    "UnitFileState": "enabled",
    "NRestarts": "3",
    "Result": "success",
    "ExecMainStatus": "0",
    "MainPID": "412",
    "WatchdogUSec": "1min",
    "ActiveEnterTimestamp": "Thu 2026-11-26 23:16:50 UTC",
    "MemoryCurrent": "98765432",
    "NeedDaemonReload": "no",
}
FAILED = RUNNING | {
    "ActiveState": "failed",
    "SubState": "failed",
    "Result": "exit-code",
    "ExecMainStatus": "2",
    "StatusText": "",
}


def systemd(properties: dict[str, str], last_exit: str = "") -> object:
    def ask(program: str, *arguments: str) -> str:
        if program == "journalctl":
            return last_exit
        assert arguments[:2] == ("show", UNIT)
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    return ask


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setattr(needs_module, "check_readable", lambda path: None)
    layout = Layout(tmp_path)
    list(perform(install_steps(layout, None, start=False)))
    return layout


def test_a_service_that_is_not_installed(tmp_path: Path) -> None:
    status = service_status(Layout(tmp_path))
    assert not status.active
    assert describe(status, Layout(tmp_path)) == (
        "installed  no; install it with: sudo cfvgg-edge service install"
    )


def test_a_running_service_on_one_screen(layout: Layout) -> None:
    last = "cfvgg-edge.service: Main process exited, code=killed, status=6/ABRT\n"
    status = service_status(layout, systemd(RUNNING, last))  # type: ignore[arg-type] # fewer programs
    assert status.active
    assert describe(status, layout).splitlines() == [
        f"installed  {layout.unit}, settings in {layout.config}",
        "enabled    enabled",
        "active     active (running), pid 412, since Thu 2026-11-26 23:16:50 UTC, 99 MB: tracking at 30 Hz",
        "restarts   3",
        "last exit  Main process exited, code=killed, status=6/ABRT",
        "watchdog   1min",
    ]


def test_a_failed_service_says_how_and_where_to_look(layout: Layout) -> None:
    status = service_status(layout, systemd(FAILED))  # type: ignore[arg-type] # fewer programs
    lines = describe(status, layout).splitlines()
    assert not status.active
    assert "active     failed (failed): exit-code, status 2" in lines
    assert f"see        journalctl -u {UNIT} -n 30" in lines
    assert describe_short(status) == "enabled, failed (failed): exit-code, status 2, 3 restarts"


def test_files_that_are_not_the_packages_are_named(layout: Layout) -> None:
    layout.unit.write_text(layout.unit.read_text().replace("WatchdogSec=60s", "WatchdogSec=0"))
    layout.config.write_text('[source]\nuri = "rtsp://camera/stream"\n')
    status = service_status(layout, systemd(RUNNING | {"NeedDaemonReload": "yes"}))  # type: ignore[arg-type]
    assert status.differs == (layout.unit, layout.dropin)
    text = describe(status, layout)
    assert f"differs    {layout.unit}, {layout.dropin}; bring it up to date" in text
    assert "changed    since systemd read it" in text


def test_settings_that_are_wrong_are_left_to_the_doctor(layout: Layout) -> None:
    layout.config.write_text("nonsense")
    assert service_status(layout).differs == ()


def test_without_systemd_the_files_still_count(layout: Layout) -> None:
    status = service_status(layout)
    assert status.installed
    assert describe_short(status) == "installed"
    assert describe(status, layout).splitlines()[-1] == "systemd    does not tell"
