"""Installing below a folder that stands for a system, and the checks before it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.config import Config, load_config
from edge_runtime.errors import CfvggError, ConfigError, InstallationError
from edge_runtime.installation import needs as needs_module
from edge_runtime.installation.dropin import dropin
from edge_runtime.installation.layout import UNIT, Layout, packaged, program
from edge_runtime.installation.needs import check_program, check_readable, needs, source_kind
from edge_runtime.installation.service import check_ready, install_steps, require_root, uninstall_steps
from edge_runtime.installation.steps import Command, Link, MakeFolder, Remove, WriteFile, perform
from edge_runtime.structure import field_names
from tests.systemd.helpers import files

_, ADMINISTRATORS_HOME, _ = needs_module.HOMES

GOOD = '[source]\nuri = "fake:"\n[tracker]\npreset = "kcf"\n'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "root")


@pytest.fixture(autouse=True)
def readable_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tests may keep the checkout to himself."""
    monkeypatch.setattr(needs_module, "check_readable", lambda path: None)


def install(layout: Layout, file: Path | None = None) -> list[str]:
    return list(perform(install_steps(layout, file, start=False)))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_everything_is_put_in_place(layout: Layout, tmp_path: Path) -> None:
    said = install(layout, write(tmp_path / "mine.toml", GOOD))
    assert files(layout.root) == {
        "etc/cfvgg/cfvgg.toml",
        f"etc/systemd/system/{UNIT}",
        f"etc/systemd/system/{UNIT}.d/10-installation.conf",
        f"etc/systemd/system/multi-user.target.wants/{UNIT}",
        "etc/sysusers.d/cfvgg.conf",
        "etc/udev/rules.d/99-cfvgg.rules",
    }
    assert layout.unit.read_bytes() == packaged(UNIT).read_bytes()
    assert str(layout.wants.readlink()) == f"/etc/systemd/system/{UNIT}"
    assert layout.config.read_text() == GOOD
    assert f"ExecStart={program()} run --config /etc/cfvgg/cfvgg.toml\n" in layout.dropin.read_text()
    assert f"write {layout.unit}" in said


def test_the_second_time_changes_nothing(layout: Layout) -> None:
    install(layout)
    before = {path: (layout.root / path).lstat().st_mtime_ns for path in files(layout.root)}
    assert install(layout) == []
    assert before == {path: (layout.root / path).lstat().st_mtime_ns for path in files(layout.root)}


def test_a_change_in_the_package_or_by_hand_is_put_right(layout: Layout) -> None:
    install(layout)
    layout.unit.write_text("[Service]\nExecStart=/bin/true\n")
    layout.wants.unlink()
    assert install(layout) == [f"write {layout.unit}", f"link {layout.wants} to /etc/systemd/system/{UNIT}"]


def test_a_dry_run_only_talks(layout: Layout) -> None:
    said = list(perform(install_steps(layout, None, start=False), dry_run=True))
    assert f"would write {layout.dropin}" in said
    assert files(layout.root) == set()


def test_without_settings_the_reference_is_put_there(layout: Layout) -> None:
    install(layout)
    assert layout.config.read_bytes() == packaged("cfvgg.toml").read_bytes()


def test_settings_that_are_there_stay(layout: Layout, tmp_path: Path) -> None:
    write(layout.config, GOOD)
    install(layout)
    assert layout.config.read_text() == GOOD
    install(layout, write(tmp_path / "same.toml", GOOD))
    with pytest.raises(
        InstallationError, match=r"is there already and is not .*other\.toml; change that one"
    ):
        install(layout, write(tmp_path / "other.toml", GOOD + "dtype = 3\n"))
    assert layout.config.read_text() == GOOD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[source]\nuri = 3\n", "source.uri = 3 has the wrong type"),
        ("[source]\nuri = 'clip.mp4'\n", "is not a whole path; give /"),
        ("[model]\nbundle = '/tmp/bundle'\n", "the service has a /tmp of its own"),
        ("[model]\nbundle = '/opt/my bundle'\n", "cannot stand in a unit file"),
        ("[output]\ntracks = '-'\n", "would fill the journal with records; give a file in /var/lib/cfvgg"),
        ("[output]\ntracks = '/home/pi/t.jsonl'\n", "is in a home folder, where the service may not write"),
        (f"[output]\nvideo = '/{ADMINISTRATORS_HOME}/v.mp4'\n", "is in a home folder"),
    ],
)
def test_settings_that_cannot_work_stop_it_before_it_begins(
    layout: Layout, tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        install(layout, write(tmp_path / "mine.toml", text))
    assert expected in str(caught.value)
    assert files(layout.root) == set()


def test_a_missing_file_of_settings(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        install(layout, tmp_path / "none.toml")


@pytest.mark.parametrize("purge", [False, True])
def test_uninstalling_leaves_the_users_files_or_nothing(layout: Layout, tmp_path: Path, purge: bool) -> None:
    install(layout, write(tmp_path / "mine.toml", GOOD))
    write(layout.state / "tracks.jsonl", "{}\n")
    write(layout.dropins / "override.conf", "[Service]\nNice=-5\n")
    write(layout.runtime / "control.sock", "")
    list(perform(uninstall_steps(layout, purge)))
    mine = {
        "etc/cfvgg/cfvgg.toml",
        "var/lib/cfvgg/tracks.jsonl",
        f"etc/systemd/system/{UNIT}.d/override.conf",
    }
    assert files(layout.root) == (set() if purge else mine)
    assert list(perform(uninstall_steps(layout, purge))) == []


def test_uninstalling_takes_settings_that_nobody_changed(layout: Layout) -> None:
    install(layout)
    layout.state.mkdir(parents=True)
    list(perform(uninstall_steps(layout, purge=False)))
    assert files(layout.root) == set()
    assert not layout.config.parent.exists()
    assert not layout.state.exists()
    assert not layout.dropins.exists()


# What the service may reach.


def wanted(layout: Layout, **settings: object) -> str:
    config = load_config(None, {name.replace("__", "."): value for name, value in settings.items()})
    return dropin(Path("/opt/cfvgg/bin/cfvgg-edge"), needs(config, layout), layout)


def test_a_program_of_the_system_needs_nothing_more(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [Path("/opt/cfvgg"), Path("/usr")])
    assert wanted(layout).splitlines()[2:] == [
        "[Service]",
        "ExecStart=",
        "ExecStart=/opt/cfvgg/bin/cfvgg-edge run --config /etc/cfvgg/cfvgg.toml",
    ]


def test_homes_show_what_is_needed_of_them(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [Path("/home/pi/cfvgg"), Path(f"/{ADMINISTRATORS_HOME}/python"), Path("/home/pi/cfvgg/lib")]
    monkeypatch.setattr(needs_module, "program_folders", lambda: folders)
    (layout.root / "data").mkdir(parents=True)
    (layout.root / "data/bundle").symlink_to(layout.root / "home/pi/exported")
    text = wanted(layout, model__bundle="/data/bundle", source__uri="/home/pi/clip.mp4")
    shown = [line for line in text.splitlines() if line.startswith("BindReadOnlyPaths=")]
    assert [line.removeprefix("BindReadOnlyPaths=-") for line in shown] == [
        "/home/pi/cfvgg",
        "/home/pi/clip.mp4",
        "/home/pi/exported",
        f"/{ADMINISTRATORS_HOME}/python",
    ]


def test_files_elsewhere_are_writable(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [])
    text = wanted(layout, output__tracks="/mnt/disk/cfvgg/t.jsonl", output__video="/var/lib/cfvgg/v.mp4")
    assert [line for line in text.splitlines() if "WritePaths" in line] == ["ReadWritePaths=-/mnt/disk/cfvgg"]


def test_addresses_open_the_network_and_libcamera_its_events(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [])
    stream = wanted(layout, source__uri="rtsp://camera/stream")
    for line in ("PrivateNetwork=no", "RestrictAddressFamilies=AF_INET AF_INET6", "IPAddressDeny="):
        assert line in stream.splitlines()
    assert "AF_NETLINK" not in stream
    camera = wanted(layout, source__uri="picamera2:")
    assert "RestrictAddressFamilies=AF_NETLINK" in camera
    assert "AF_INET" not in camera
    for uri in ("fake:", "/dev/video0", "v4l2:/dev/video0"):
        assert "AF_" not in wanted(layout, source__uri=uri)


def test_every_setting_that_names_a_file_or_an_address_is_one() -> None:
    names = needs_module.READ + needs_module.SECRET + needs_module.WRITTEN
    assert set(names + needs_module.ADDRESSES + needs_module.LOOPBACK) <= set(field_names(Config))


def test_metrics_on_a_port_reach_this_machine_only(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [])
    assert "AF_INET" not in wanted(layout, metrics__listen="unix")
    assert "IPAddressAllow=localhost" in wanted(layout, metrics__listen="127.0.0.1:9105")
    both = wanted(layout, metrics__listen="127.0.0.1:9105", mqtt__host="broker")
    assert "IPAddressDeny=\n" in both
    assert "IPAddressAllow" not in both


def test_the_watchdog_waits_longer_than_the_source_tries(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [])
    assert "WatchdogSec" not in wanted(layout, source__uri="picamera2:")
    # 2 s, then 0.5, 1, 2, 4, 8, and four times 10 s, and 30 to spare.
    assert "WatchdogSec=88s\n" in wanted(layout, source__uri="picamera2:", source__give_up_after=9)


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("", "none"),
        ("fake:live=true", "fake"),
        ("picamera2:1", "picamera2"),
        ("/dev/video0", "v4l2"),
        ("v4l2:/dev/video0", "v4l2"),
        ("https://camera/mjpeg", "stream"),
        ("/srv/clip.mp4", "file"),
        ("picamera2", "file"),
    ],
)
def test_kinds_of_sources(uri: str, kind: str) -> None:
    assert source_kind(uri) == kind


@pytest.mark.parametrize("folder", ["/opt/with space", "/opt/a:b", "/opt/%n"])
def test_paths_that_units_would_misread_are_refused(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.setattr(needs_module, "program_folders", lambda: [])
    with pytest.raises(InstallationError, match="cannot stand in a unit file"):
        dropin(Path(folder) / "bin/cfvgg-edge", needs(load_config(), layout), layout)


def test_what_the_service_may_not_read_is_named(tmp_path: Path) -> None:
    # Below a home, which the service sees without what is above.
    bundle = tmp_path / "bundle"
    write(bundle / "manifest.json", "{}").chmod(0o600)
    for folder in (bundle, *bundle.parents):
        # All that pytest made for itself alone; how many levels depends on how it was started.
        if folder.owner() == tmp_path.owner() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    with pytest.raises(InstallationError, match=r"manifest\.json: may not be read by the service's user"):
        check_readable(bundle)
    (bundle / "manifest.json").chmod(0o644)
    bundle.chmod(0o700)
    with pytest.raises(InstallationError, match=rf"bundle: may not .* chmod -R o\+rX {bundle}"):
        check_readable(bundle)


def test_a_program_for_one_user_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(needs_module.__file__).parents[2]
    monkeypatch.setattr("site.getusersitepackages", lambda: str(checkout))
    with pytest.raises(InstallationError, match="for one user only"):
        check_program()


# What the service would do.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "source.uri is empty"),
        ({"source.uri": "/no/clip.mp4"}, "source.uri = '/no/clip.mp4' is not there"),
        ({"source.uri": "fake:"}, "needs a network"),
        ({"source.uri": "fake:", "model.bundle": "/no/bundle"}, "is not a bundle folder"),
        (
            {"source.uri": "fake:", "tracker.preset": "kcf", "adapt.mode": "blocking"},
            "than the watchdog waits",
        ),
    ],
)
def test_settings_that_would_end_it_at_once(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(CfvggError) as caught:
        check_ready(load_config(None, settings), Path("/etc/cfvgg/cfvgg.toml"))
    assert expected in str(caught.value)


def test_good_settings_are_ready() -> None:
    check_ready(load_config(None, {"source.uri": "fake:", "tracker.preset": "kcf"}), Path("c.toml"))


# Rights and steps.


def test_root_is_needed_and_the_line_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["cfvgg-edge", "service", "install", "--config", "my file.toml"])
    with pytest.raises(InstallationError) as caught:
        require_root(Layout())
    line = f"sudo {program()} service install --config 'my file.toml'"
    assert str(caught.value) == f"needs the rights of root; run {line}"
    require_root(Layout(Path("/elsewhere")))


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match=r"nonsense.*; look there"):
        Command(("ls", "/nonsense"), fix="look there").apply()
    with pytest.raises(InstallationError, match="cannot run no-such-program"):
        Command(("no-such-program",)).apply()
    Command(("ls", "/nonsense"), may_fail=True).apply()
    assert not Command(("no-such-program",), may_fail=True).needed()


def test_secrets_are_for_the_group_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_runtime.installation.steps.group_number", lambda name: os.getgid())
    WriteFile(tmp_path / "a", b"x", "cfvgg").apply()
    WriteFile(tmp_path / "b", b"x").apply()
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"]
    assert modes == [0o640, 0o644]


def test_folders_are_made_once(tmp_path: Path) -> None:
    step = MakeFolder(tmp_path / "a/b", "no-such-account")
    assert list(perform([step, step])) == [f"make {tmp_path / 'a/b'} for no-such-account"]
    assert (tmp_path / "a/b").is_dir()


def test_only_empty_folders_are_removed_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "full/file", "")
    (tmp_path / "empty").mkdir()
    done = list(perform(Remove(tmp_path / name, only_empty=True) for name in ("full", "empty", "none")))
    assert done == [f"remove {tmp_path / 'empty'}"]


def test_steps_after_others_see_what_those_did(tmp_path: Path) -> None:
    write(tmp_path / "folder/file", "")

    def steps() -> Iterator[Remove]:
        yield Remove(tmp_path / "folder/file")
        yield Remove(tmp_path / "folder", only_empty=True)

    assert len(list(perform(steps()))) == 2


def test_offline_the_accounts_are_made_and_systemd_is_not_asked() -> None:
    steps = install_steps(Layout(offline=True), None, start=False)
    commands = [step.arguments for step in steps if isinstance(step, Command)]
    assert commands[0][0] == "systemd-sysusers"
    assert {command[0] for command in commands} <= {"systemd-sysusers", "usermod"}
    assert Link(Layout().wants, f"/etc/systemd/system/{UNIT}") in steps


def test_offline_removal_asks_systemd_nothing() -> None:
    steps = list(uninstall_steps(Layout(offline=True), purge=True))
    programs = {step.arguments[0] for step in steps if isinstance(step, Command)}
    assert programs <= {"userdel", "groupdel"}
    assert Remove(Layout().bundles) in steps
