"""Cameras: there, free, permitted, and seen by libcamera."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.doctor.checks import Check, failure, ok, skipped, warning
from edge_runtime.doctor.machine import Machine
from edge_runtime.installation.layout import USER
from edge_runtime.installation.needs import source_kind

V4L2 = "/sys/class/video4linux"
SENSOR = re.compile(r"(\S+) \d+-[0-9a-f]{4}")  # "imx708 10-001a": chip, I2C bus and address
RECEIVERS = ("unicam", "rp1-cfe")  # what Raspberry Pis' camera ports are called
# Programs that look at every camera and do not use it.
WATCHERS = {"pipewire", "wireplumber"}
LIST_CAMERAS = """
import json, sys
try:
    from picamera2 import Picamera2
    print(json.dumps({"cameras": [camera["Model"] for camera in Picamera2.global_camera_info()]}))
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""
PICAMERA2 = "sudo apt install python3-picamera2, and a virtual environment made with --system-site-packages"
CABLE = "switch off, check the cable, camera_auto_detect=1 in /boot/firmware/config.txt; rpicam-hello -t 1"


def camera_checks(machine: Machine, config: Config | None) -> Iterator[Check]:
    """Up to four checks of the camera that the settings name."""
    kind = source_kind(config.source.uri) if config is not None else "none"
    if config is None or kind not in ("picamera2", "v4l2"):
        there = ", ".join(_all_cameras(machine)) or "none found"
        yield skipped("camera", f"source is no camera of this machine; cameras: {there}")
        return
    if kind == "v4l2":
        presence, devices = _node(machine, _device(config.source.uri))
        yield presence
        yield from _access(machine, devices)
        return
    seen = _libcamera(machine)
    yield _sensor(machine, elsewhere=seen.state == "ok")
    yield from _access(machine, _receivers(machine))
    yield seen


def _access(machine: Machine, devices: list[str]) -> Iterator[Check]:
    if devices:
        yield _rights(machine, devices)
        yield _busy(machine, devices)


def _device(uri: str) -> str:
    """The device file of "/dev/video0" or "v4l2:/dev/video0"."""
    return uri.removeprefix("v4l2:")


def _node(machine: Machine, device: str) -> tuple[Check, list[str]]:
    node = machine.path(device)
    if not node.exists():
        there = ", ".join(_all_cameras(machine)) or "no camera"
        fix = "plug it in, or set source.uri to one that is there"
        return failure("camera", f"{device} is not there; there is {there}", fix), []
    # Names in /dev/v4l/by-id are links.
    real = "/" + os.path.relpath(os.path.realpath(node), machine.root)
    name = machine.read(f"{V4L2}/{Path(real).name}/name") or "unnamed"
    return ok("camera", f"{device}: {name}"), [real]


def _sensor(machine: Machine, *, elsewhere: bool) -> Check:
    """What is on the camera ports; `elsewhere`: libcamera has cameras, which may be on USB."""
    names = [SENSOR.fullmatch(name) for name in _names(machine, "v4l-subdev*").values()]
    chips = sorted({match[1] for match in names if match})
    if not chips and elsewhere:
        found = "none on the camera ports, but libcamera lists one"
        return warning("camera", found, f"for one on a port: {CABLE}")
    if not chips:
        usb = ", ".join(_usb(machine))
        other = f"; USB: {usb} (set source.uri to it)" if usb else ""
        return failure("camera", f"no camera on the camera ports{other}", CABLE)
    return ok("camera", f"on the camera ports: {', '.join(chips)}")


def _receivers(machine: Machine) -> list[str]:
    """Devices that a program holds while it uses a camera port."""
    nodes = _names(machine, "video*")
    return [f"/dev/{node}" for node, name in nodes.items() if name.startswith(RECEIVERS)]


def _usb(machine: Machine) -> list[str]:
    found = []
    for node, name in _names(machine, "video*").items():
        driver = machine.path(f"{V4L2}/{node}/device/driver")
        # A USB camera has a second node, for what it says about its frames.
        if Path(os.path.realpath(driver)).name == "uvcvideo" and machine.read(f"{V4L2}/{node}/index") == "0":
            found.append(f"/dev/{node} ({name})")
    return found


def _all_cameras(machine: Machine) -> list[str]:
    sensors = [name for name in _names(machine, "v4l-subdev*").values() if SENSOR.fullmatch(name)]
    return sensors + _usb(machine)


def _names(machine: Machine, pattern: str) -> dict[str, str]:
    folders = sorted(machine.path(V4L2).glob(pattern))
    return {folder.name: machine.read(f"{V4L2}/{folder.name}/name") or "" for folder in folders}


def _rights(machine: Machine, devices: list[str]) -> Check:
    person = machine.person()
    media = [f"/dev/{path.name}" for path in sorted(machine.path("/dev").glob("media*"))]
    wanted = devices if len(devices) == 1 else [*devices, *media]
    nodes = {device: machine.path(device) for device in wanted}
    denied = [d for d, node in nodes.items() if node.exists() and not person.may(node, os.R_OK | os.W_OK)]
    if not denied:
        more = " and more" if len(wanted) > 2 else ""
        return ok("camera rights", f"{person.name} may use {', '.join(wanted[:2])}{more}")
    group = machine.group_of(nodes[denied[0]])
    if group == "root":
        fix = "sudo cfvgg-edge service install puts device rules in place"
    else:
        again = "sudo systemctl restart cfvgg-edge" if person.name == USER else "log in again"
        fix = f"sudo usermod -aG {group} {person.name}; {again}"
    return failure("camera rights", f"{person.name} may not use {denied[0]} (group {group})", fix)


def _busy(machine: Machine, devices: list[str]) -> Check:
    name = "camera free"
    holders, unseen = holders_of(machine, set(devices))
    ours = [f"{program} ({pid})" for pid, program in holders.items() if program.startswith("cfvgg-edge")]
    others = {
        pid: program
        for pid, program in holders.items()
        if program not in WATCHERS and not program.startswith("cfvgg-edge")
    }
    if others:
        who = ", ".join(f"{program} ({pid})" for pid, program in others.items())
        pid, program = next(iter(others.items()))
        return failure(name, f"held by {who}", f"stop it: sudo systemctl stop {program}, or sudo kill {pid}")
    if ours:
        return ok(name, f"held by {', '.join(ours)}, which is the tracker")
    if unseen and machine.live:
        return ok(name, f"as far as this user sees; {unseen} processes of others (sudo sees all)")
    return ok(name, "nobody else holds it")


def holders_of(machine: Machine, devices: set[str]) -> tuple[dict[int, str], int]:
    """Processes that have one of the devices open, number to name; and how many could not be looked at."""
    holders, unseen = {}, 0
    for process in machine.path("/proc").glob("[0-9]*"):
        try:
            targets = {str(handle.readlink()) for handle in (process / "fd").iterdir()}
        except PermissionError:
            unseen += 1
            continue
        except OSError:  # it has ended
            continue
        if targets & devices:
            holders[int(process.name)] = machine.read(f"/proc/{process.name}/comm") or "a process"
    return holders, unseen


def _libcamera(machine: Machine) -> Check:
    if machine.ask is None:
        return skipped("libcamera", "no program can be run there")
    try:
        answer = json.loads(machine.ask(sys.executable, "-c", LIST_CAMERAS) or "")
    except ValueError:
        return failure("libcamera", "picamera2 ended without an answer", "run rpicam-hello --list-cameras")
    if "error" in answer:
        return failure("libcamera", f"picamera2 does not import ({answer['error']})", PICAMERA2)
    if not answer["cameras"]:
        return warning("libcamera", "lists no cameras", "run rpicam-hello --list-cameras; see dmesg")
    return ok("libcamera", f"lists {', '.join(answer['cameras'])}")
