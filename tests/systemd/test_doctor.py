"""The doctor on machines made of files: healthy Raspberry Pis, a sick one, a PC."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_runtime import host
from edge_runtime.doctor import software
from edge_runtime.doctor.checks import Check, failure, ok, screen, to_json, warning
from edge_runtime.doctor.examine import examine
from edge_runtime.doctor.machine import Machine, Person
from edge_runtime.installation.layout import Layout
from edge_runtime.unix_socket import listen, stop_listening
from tests.systemd.helpers import CPU, MEMINFO, Tree, raspberry_pi

PI_CAMERA = '[source]\nuri = "picamera2:"\n[tracker]\npreset = "kcf"\n'
USB_CAMERA = '[source]\nuri = "/dev/video8"\n[tracker]\npreset = "kcf"\n'
Examine = Callable[..., dict[str, Check]]


@pytest.fixture(autouse=True)
def no_kernel_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel that runs the tests is not that of the machine."""
    monkeypatch.setattr(host, "kernel_clock_synced", lambda: None)


@pytest.fixture
def doctor(tmp_path: Path) -> Examine:
    """All findings by name; of several with one name the worst."""

    def call(tree: Tree, config: str = PI_CAMERA, cameras: object = ("imx708",)) -> dict[str, Check]:
        def ask(program: str, *arguments: str) -> str | None:
            answer = {"cameras": cameras} if isinstance(cameras, tuple) else cameras
            return json.dumps(answer) if program == sys.executable and answer else None

        file = tmp_path / "settings.toml"
        file.write_text(config)
        found: dict[str, Check] = {}
        order = ["skipped", "ok", "warning", "failure"]
        for check in examine(Machine(tree.root, ask), file, tmp_path / "run"):
            if check.name not in found or order.index(check.state) > order.index(found[check.name].state):
                found[check.name] = check
        return found

    return call


def states(checks: dict[str, Check], state: str) -> set[str]:
    return {name for name, check in checks.items() if check.state == state}


@pytest.mark.parametrize("model", [4, 5])
def test_a_healthy_pi_has_nothing_to_mend(doctor: Examine, tmp_path: Path, model: int) -> None:
    checks = doctor(raspberry_pi(tmp_path / "pi", model))
    assert states(checks, "failure") == set()
    assert states(checks, "warning") == set()
    for name in ("camera", "camera rights", "camera free", "libcamera", "dma_heap", "CMA", "clock", "power"):
        assert checks[name].state == "ok", checks[name]
    assert checks["camera"].found == "on the camera ports: imx708"
    assert checks["libcamera"].found == "lists imx708"
    assert checks["CMA"].found == "460 of 536 MB free"
    assert checks["temperature"].found == "48 °C"
    expected = {
        4: "2 x Cortex-A72, no dot products of int8",
        5: "2 x Cortex-A76, dot products of int8 (asimddp)",
    }
    assert checks["processor"].found == expected[model]
    assert Machine(tmp_path / "pi").name == (
        f"Raspberry Pi {model} Model B Rev 1.1, Debian GNU/Linux 12 (bookworm)"
    )


def test_a_sick_pi_gets_a_fix_for_each_trouble(
    doctor: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "kernel_clock_synced", lambda: False)
    tree = raspberry_pi(tmp_path / "pi", 4)
    tree.root.joinpath("run/systemd/timesync/synchronized").unlink()
    tree.accounts(video=64002)
    Layout(tree.root).unit.parent.mkdir(parents=True)
    Layout(tree.root).unit.touch()
    tree.file("/proc/meminfo", MEMINFO.format(1_000_000, 90_000, 65_536, 10_000))
    tree.file("/proc/mounts", "/dev/mmcblk0p2 / ext4 ro,noatime 0 0\n")
    tree.file("/sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n")
    tree.file("/sys/class/thermal/thermal_zone0/temp", "82500\n")
    tree.file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    tree.holder(812, "motion", "/dev/video0").holder(813, "wireplumber", "/dev/video0")
    checks = doctor(tree, cameras={"error": "ModuleNotFoundError: No module named 'picamera2'"})
    troubles = {
        "camera rights": "cfvgg may not use /dev/video0",
        "camera free": "held by motion (812)",
        "libcamera": "picamera2 does not import (ModuleNotFoundError: No module named 'picamera2')",
        "dma_heap": "cfvgg may not use linux,cma, system",
        "CMA": "10 of 67 MB free",
        "memory": "92 of 1024 MB available",
        "power": "now: undervoltage, throttled (0x50005)",
        "temperature": "82 °C: it slows down",
        "disk": "read only",
    }
    assert states(checks, "failure") == set(troubles)
    for name, found in troubles.items():
        assert found in checks[name].found
        assert checks[name].fix
    assert states(checks, "warning") >= {"clock", "governor", "service"}
    assert "sudo systemctl stop motion" in (checks["camera free"].fix or "")
    assert "power supply" in (checks["power"].fix or "")


def test_a_pc_is_not_asked_for_what_it_cannot_have(doctor: Examine, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "pc").file(
        "/proc/cpuinfo", "processor: 0\nmodel name: A PC\nflags: avx2 avx512_vnni\n"
    )
    tree.file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    tree.file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n")
    tree.video("video0", "Webcam", driver="uvcvideo").video("video1", "Webcam", 1, driver="uvcvideo")
    checks = doctor(tree, '[source]\nuri = "fake:"\n[tracker]\npreset = "kcf"\n')
    assert states(checks, "failure") == set()
    assert states(checks, "warning") == set()
    assert checks["camera"].found.endswith("cameras: /dev/video0 (Webcam)")
    assert checks["processor"].found == "1 x A PC, dot products of int8 (avx512_vnni)"
    assert {"power", "temperature", "clock", "service", "sockets"} <= states(checks, "skipped")
    assert checks["governor"].state == "ok"


# Cameras.


def test_a_usb_camera_by_its_lasting_name(doctor: Examine, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "pi").video("video8", "HD Webcam", driver="uvcvideo")
    tree.link("/dev/v4l/by-id/usb-webcam", "../../video8").holder(7, "cfvgg-edge", "/dev/video8")
    checks = doctor(tree, USB_CAMERA.replace("/dev/video8", "v4l2:/dev/v4l/by-id/usb-webcam"))
    assert checks["camera"].found == "/dev/v4l/by-id/usb-webcam: HD Webcam"
    assert checks["camera free"] == ok("camera free", "held by cfvgg-edge (7), which is the tracker")
    assert checks["camera rights"].found.endswith("may use /dev/video8")
    assert "libcamera" not in checks


def test_a_camera_that_is_not_there(doctor: Examine, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "pi").video("video2", "Other", driver="uvcvideo")
    checks = doctor(tree, USB_CAMERA)
    assert checks["camera"].state == "failure"
    assert checks["camera"].found == "/dev/video8 is not there; there is /dev/video2 (Other)"
    assert "camera free" not in checks
    checks = doctor(tree, PI_CAMERA, cameras=())
    assert checks["camera"].state == "failure"
    assert checks["camera"].found == (
        "no camera on the camera ports; USB: /dev/video2 (Other) (set source.uri to it)"
    )
    assert "check the cable" in (checks["camera"].fix or "")
    assert checks["libcamera"].found == "lists no cameras"


def test_a_camera_that_only_libcamera_knows(doctor: Examine, tmp_path: Path) -> None:
    checks = doctor(Tree(tmp_path / "pi"), PI_CAMERA, cameras=("Virtual",))
    assert checks["libcamera"] == ok("libcamera", "lists Virtual")
    assert checks["camera"].state == "warning"
    assert "check the cable" in (checks["camera"].fix or "")
    assert not {"camera rights", "camera free"} & set(checks)


def test_programs_that_only_watch_do_not_hold_a_camera(doctor: Examine, tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5).holder(9, "wireplumber", "/dev/video0")
    assert doctor(tree)["camera free"].state == "ok"


@pytest.mark.parametrize(
    ("cameras", "state", "found"),
    [((), "warning", "lists no cameras"), (None, "failure", "ended without an answer")],
)
def test_what_libcamera_says(
    doctor: Examine, tmp_path: Path, cameras: object, state: str, found: str
) -> None:
    check = doctor(raspberry_pi(tmp_path / "pi", 5), cameras=cameras)["libcamera"]
    assert (check.state, found in check.found) == (state, True)


def test_heaps_that_belong_to_root_get_the_rules(doctor: Examine, tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5).accounts(video=64002)
    Layout(tree.root).unit.parent.mkdir(parents=True)
    Layout(tree.root).unit.touch()
    (tree.root / "dev/dma_heap/system").chmod(0o666)
    assert doctor(tree)["dma_heap"].state == "ok"  # any heap will do
    for heap in (tree.root / "dev/dma_heap").iterdir():
        heap.unlink()
    assert "has no heaps" in doctor(tree)["dma_heap"].found


@pytest.mark.parametrize(
    ("mode", "user", "groups", "may"),
    [
        (0o660, 0, (), True),
        (0o660, 64001, (), False),
        (0o660, 64001, (os.getgid(),), True),
        (0o640, 64001, (os.getgid(),), False),
        (0o666, 64001, (), True),
        (0o066, os.getuid() or 64001, (os.getgid(),), os.getuid() == 0),
    ],
)
def test_rights_are_those_of_the_closest_class(
    tmp_path: Path, mode: int, user: int, groups: tuple[int, ...], may: bool
) -> None:
    node = tmp_path / "node"
    node.touch()
    os.chown(node, -1, os.getgid())
    node.chmod(mode)
    assert Person("x", user, frozenset(groups), here=False).may(node, os.R_OK | os.W_OK) is may


# The board.


@pytest.mark.parametrize(
    ("bits", "state", "found"),
    [
        ("0", "ok", "never throttled"),
        ("1", "failure", "now: undervoltage"),
        ("10000", "warning", "since start-up: undervoltage"),
        ("80008", "failure", "now: soft temperature limit"),
        ("e0008", "failure", "now: soft temperature limit; since start-up: frequency capped, throttled"),
    ],
)
def test_bits_of_the_firmware_in_words(
    doctor: Examine, tmp_path: Path, bits: str, state: str, found: str
) -> None:
    tree = raspberry_pi(tmp_path / "pi", 4)
    tree.file("/sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    check = doctor(tree)["power"]
    assert check.state == state
    assert check.found.startswith(found)
    assert ("power supply" in (check.fix or "")) == ("undervoltage" in found)


@pytest.mark.parametrize(("alarm", "state"), [("0", "ok"), ("1", "failure")])
def test_newer_kernels_tell_of_undervoltage_elsewhere(
    doctor: Examine, tmp_path: Path, alarm: str, state: str
) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5)
    tree.root.joinpath("sys/devices/platform/soc@107c000000/soc:firmware/get_throttled").unlink()
    tree.file("/sys/class/hwmon/hwmon1/name", "rpi_volt\n").file(
        "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm
    )
    assert doctor(tree)["power"].state == state


def test_int8_without_dot_products_is_worth_a_bench(doctor: Examine, tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path / "pi", 4)
    bundle = '[model]\nbundle = "/nowhere"\ndtype = "{}"\n'
    assert "bench" in (doctor(tree, PI_CAMERA + bundle.format("int8"))["processor"].fix or "")
    assert doctor(tree, PI_CAMERA + bundle.format("float32"))["processor"].state == "ok"
    assert doctor(tree, PI_CAMERA + bundle.format("auto"))["processor"].state == "warning"
    tree.file("/var/lib/cfvgg/bench.json", "{}")
    assert doctor(tree, PI_CAMERA + bundle.format("auto"))["processor"].state == "ok"
    tree.file("/proc/cpuinfo", CPU.format("fp asimd asimddp", "0xd0b"))
    assert doctor(tree, PI_CAMERA + bundle.format("int8"))["processor"].state == "ok"
    (tree.root / "proc/cpuinfo").unlink()
    assert doctor(tree)["processor"].state == "failure"


# Software and settings.


def test_settings_that_are_wrong_are_the_first_failure(doctor: Examine, tmp_path: Path) -> None:
    checks = doctor(raspberry_pi(tmp_path / "pi", 5), "[source]\nurl = 'x'\n")
    assert checks["settings"].state == "failure"
    assert "did you mean 'source.uri'" in checks["settings"].found
    assert checks["model"].state == "skipped"
    assert checks["disk"].state == "ok"


def test_the_services_settings_are_taken_unless_others_are_given(tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5).file("/etc/cfvgg/cfvgg.toml", USB_CAMERA)
    config, check = software.settings_check(Machine(tree.root, None), None)
    assert config is not None
    assert config.source.uri == "/dev/video8"
    assert check.state == "ok"


def test_a_bundle_that_is_damaged(doctor: Examine, tmp_path: Path) -> None:
    check = doctor(raspberry_pi(tmp_path / "pi", 5), PI_CAMERA + f'[model]\nbundle = "{tmp_path}"\n')["model"]
    assert check.state == "failure"
    assert "SHA256SUMS: cannot be read" in check.found
    assert check.fix == "export the bundle again or copy it anew"


def test_a_tracker_without_the_network_that_it_needs(doctor: Examine, tmp_path: Path) -> None:
    check = doctor(raspberry_pi(tmp_path / "pi", 5), '[source]\nuri = "picamera2:"\n')["model"]
    assert check == failure(
        "model", "feature 'cnn:middle' needs a network", "set model.bundle or --bundle, or deploy one"
    )


def test_packages_that_are_missing_come_with_the_command(
    doctor: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(software, "NEEDED", {"no_such_module": ("no-such-package",)})
    check = doctor(raspberry_pi(tmp_path / "pi", 5))["packages"]
    assert check.state == "failure"
    assert check.fix == f"{sys.executable} -m pip install no-such-package"


@pytest.mark.parametrize(("version", "state"), [((3, 10), "failure"), ((3, 13), "ok"), ((3, 14), "failure")])
def test_pythons_that_are_too_old_or_too_new(
    doctor: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], state: str
) -> None:
    monkeypatch.setattr(software, "python_version", lambda: version)
    assert doctor(raspberry_pi(tmp_path / "pi", 5))["Python"].state == state


# Disk and sockets.


def test_disks_that_fill_up_or_forget(
    doctor: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5)
    for free_mb, state in ((10, "failure"), (200, "warning"), (2000, "ok")):
        usage = SimpleNamespace(free=free_mb * 1_000_000)
        monkeypatch.setattr("shutil.disk_usage", lambda path, usage=usage: usage)
        assert doctor(tree)["disk"].state == state
    tree.file("/proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\noverlay /var overlay rw 0 0\n")
    check = doctor(tree)["disk"]
    assert check.state == "warning"
    assert "lost at the next start" in check.found


def test_files_that_the_service_may_not_read(doctor: Examine, tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5).accounts(video=64002)
    Layout(tree.root).unit.parent.mkdir(parents=True)
    Layout(tree.root).unit.touch()
    config = PI_CAMERA + '[evaluation]\ngroundtruth = "/srv/truth.txt"\n'
    assert doctor(tree, config)["paths"].found == "/srv/truth.txt is not there"
    tree.file("/srv/truth.txt", "1,2,3,4")
    (tree.root / "srv/truth.txt").chmod(0o600)
    assert doctor(tree, config)["paths"].found == "cfvgg may not read /srv/truth.txt"
    (tree.root / "srv/truth.txt").chmod(0o644)
    assert "paths" not in doctor(tree, config)


def test_sockets_that_answer_and_sockets_that_are_left_over(
    doctor: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = raspberry_pi(tmp_path / "pi", 5)
    listener = listen(tmp_path / "run/control.sock")
    checks = doctor(tree)
    assert checks["sockets"] == ok("sockets", f"control.sock in {tmp_path / 'run'} answer")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "run/tracks.sock"))
    dead.close()
    check = doctor(tree)["sockets"]
    assert check.state == "warning"
    assert "nobody answers at tracks.sock" in check.found
    stop_listening(listener)


# How it is shown.


def test_a_screen_is_a_line_a_finding_and_its_fix_below() -> None:
    checks = [ok("Python", "3.11"), warning("clock", "word " * 30, "set it")]
    assert screen("A Pi", checks).splitlines() == [
        "A Pi: 1 warning, 1 ok",
        "ok       Python       3.11",
        "warning  clock        " + " ".join(["word"] * 17),
        " " * 22 + " ".join(["word"] * 13),
        " " * 22 + "fix: set it",
    ]


def test_json_holds_the_same() -> None:
    assert json.loads(to_json("A Pi", [failure("disk", "full", "delete")])) == {
        "machine": "A Pi",
        "checks": [{"name": "disk", "state": "failure", "found": "full", "fix": "delete"}],
    }
