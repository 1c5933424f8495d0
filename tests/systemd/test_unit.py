"""The unit, its user and its device rules, as systemd's own tools see them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge_runtime import errors
from edge_runtime.config import load_config
from edge_runtime.installation.dropin import dropin
from edge_runtime.installation.layout import UNIT, USER, Layout, packaged
from edge_runtime.installation.needs import WATCHDOG_S, needs


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here (apt install systemd)")
    return path


def settings() -> dict[str, list[str]]:
    """Every setting of the unit, with its values in order."""
    found: dict[str, list[str]] = {}
    for line in packaged(UNIT).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


@pytest.fixture(params=["", "picamera2:", "rtsp://camera/stream", "/dev/video0"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with the drop-in of a source, for a program that exists."""
    unit = tmp_path / UNIT
    unit.write_bytes(packaged(UNIT).read_bytes())
    wanted = needs(load_config(None, {"source.uri": request.param}), Layout())
    (tmp_path / f"{UNIT}.d").mkdir()
    program = Path(shutil.which("true") or "/bin/true")
    (tmp_path / f"{UNIT}.d/10-installation.conf").write_text(dropin(program, wanted, Layout()))
    return unit


def test_systemd_finds_nothing_to_say(installed: Path) -> None:
    """It only warns about unknown keys, so the output counts as well."""
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", str(installed)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sandbox_is_tight(installed: Path) -> None:
    analyze = [tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", "--no-pager"]
    done = subprocess.run([*analyze, str(installed)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""


def test_only_what_a_person_must_mend_is_not_started_again() -> None:
    never = {int(code) for code in settings()["RestartPreventExitStatus"]}
    mended = (errors.ConfigError, errors.SourceError, errors.BundleError, errors.DependencyError)
    assert {error.exit_code for error in mended} == never
    assert not {error.exit_code for error in (errors.CameraError, errors.StorageError)} & never
    assert settings()["Restart"] == ["on-failure"]


def test_the_watchdog_lives_on_frames_of_the_main_process() -> None:
    unit = settings()
    assert (unit["Type"], unit["NotifyAccess"]) == (["notify"], ["main"])
    assert unit["WatchdogSec"] == [f"{WATCHDOG_S:.0f}s"]
    # Fewer starts than a camera that gives up after half a minute needs, more than any other.
    assert (unit["StartLimitIntervalSec"], unit["StartLimitBurst"]) == (["4min"], ["10"])


def test_what_the_tracker_needs_is_left_to_it() -> None:
    unit = settings()
    devices = {value.split()[0] for value in unit["DeviceAllow"]}
    assert devices == {"char-video4linux", "char-media", "char-dma_heap"}
    assert unit["SupplementaryGroups"] == ["video"]
    for hiding in ("PrivateDevices", "ProcSubset", "DynamicUser", "ProtectClock"):
        assert hiding not in unit
    # Adaptation lowers its priority and chooses its core.
    assert {"setpriority", "sched_setaffinity"} <= set(unit["SystemCallFilter"][-1].split())


def test_the_user_can_be_made(tmp_path: Path) -> None:
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).touch()
    done = subprocess.run(
        [tool("systemd-sysusers"), f"--root={tmp_path}", str(packaged("cfvgg.sysusers"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "not permitted" in done.stderr:
        pytest.skip("making accounts, even elsewhere, takes the rights of root")
    assert done.returncode == 0, done.stderr
    (entry,) = [line for line in (tmp_path / "etc/passwd").read_text().splitlines() if line.startswith(USER)]
    assert entry.split(":")[4:] == ["cfvgg object tracker", "/var/lib/cfvgg", "/usr/sbin/nologin"]
    assert f"video:x:{video_group(tmp_path)}:{USER}" in (tmp_path / "etc/group").read_text()


def video_group(root: Path) -> str:
    return next(
        line.split(":")[2]
        for line in (root / "etc/group").read_text().splitlines()
        if line.startswith("video:")
    )


def test_the_device_rules_are_rules() -> None:
    lines = [
        line for line in packaged("99-cfvgg.rules").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert len(lines) == 3
    for line in lines:
        assert line.endswith(', GROUP="video", MODE="0660"')
    if shutil.which("udevadm") is None:
        pytest.skip("no udevadm here (apt install udev)")
    if (
        "verify"
        not in subprocess.run(["udevadm", "--help"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("udevadm is too old to check rules")
    subprocess.run(["udevadm", "verify", str(packaged("99-cfvgg.rules"))], check=True)
