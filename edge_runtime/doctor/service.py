"""Where records go, the service, and its sockets."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.config import Config
from edge_runtime.doctor.checks import Check, failure, ok, skipped, warning
from edge_runtime.doctor.machine import Machine
from edge_runtime.errors import CfvggError, ServiceError
from edge_runtime.installation.layout import UNIT
from edge_runtime.installation.needs import Needs, needs
from edge_runtime.installation.status import describe_short, service_status
from edge_runtime.unix_socket import connect

LEAST_FREE_MB, GOOD_FREE_MB = 50, 500
ANSWER_S = 2.0
READ_ONLY = "records would be lost: sudo mount -o remount,rw {0}; after errors on the card (dmesg) replace it"


def service_checks(machine: Machine, config: Config | None, runtime: Path) -> Iterator[Check]:
    """Disk, unit and sockets; `runtime` is the folder of the latter, on this machine."""
    yield from _disks(machine, config)
    yield _unit(machine)
    yield from _sockets(runtime)


def _disks(machine: Machine, config: Config | None) -> Iterator[Check]:
    layout = machine.layout
    folders = [Path("/", layout.state.relative_to(layout.root))]
    if config is not None and layout.unit.is_file():
        try:
            wanted = needs(config, layout)
        except CfvggError as error:
            yield failure("paths", error.what, error.fix or "mend the settings")
        else:
            folders += wanted.written
            yield from _readable(machine, wanted)
    for folder in folders:
        yield _disk(machine, folder)


def _readable(machine: Machine, wanted: Needs) -> Iterator[Check]:
    person = machine.person()
    for path in wanted.read + wanted.secrets:
        place = machine.path(path)
        rights = os.R_OK | (os.X_OK if place.is_dir() else 0)
        if not place.exists():
            yield failure("paths", f"{path} is not there", "copy it there, or change the settings")
        elif not person.may(place, rights):
            fix = f"sudo chgrp -R {person.name} {path} && sudo chmod -R g+rX {path}"
            yield failure("paths", f"{person.name} may not read {path}", fix)


def _disk(machine: Machine, folder: Path) -> Check:
    place = machine.path(folder)
    while not place.exists():
        place = place.parent
    free_mb = shutil.disk_usage(place).free // 1_000_000
    mount, kind, options = _mount(machine, folder)
    found = f"{folder} (on {mount}, {kind}): {free_mb} MB free"
    if "ro" in options:
        return failure("disk", f"{found}, read only", READ_ONLY.format(mount))
    if kind == "overlay" and machine.is_pi:
        fix = "turn it off (sudo raspi-config, Performance), or write to another disk"
        return warning("disk", f"{found}; what is written is lost at the next start", fix)
    person = machine.person()
    if not person.here and place == machine.path(folder) and not person.may(place, os.W_OK | os.X_OK):
        fix = f"sudo chown {person.name}: {folder}"
        return failure("disk", f"{person.name} may not write to {folder}", fix)
    if free_mb < GOOD_FREE_MB:
        fix = "delete old records, or have fewer written (settings of [output])"
        return (failure if free_mb < LEAST_FREE_MB else warning)("disk", found, fix)
    return ok("disk", found)


def _mount(machine: Machine, folder: Path) -> tuple[str, str, set[str]]:
    """Mount point, type and options of the file system that a folder is on."""
    best = ("/", "unknown", set[str]())
    for line in (machine.read("/proc/mounts") or "").splitlines():
        parts = line.split()
        if len(parts) < 4:
            continue
        point = parts[1].replace("\\040", " ")
        # The last of equals is on top.
        if folder.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, parts[2], set(parts[3].split(",")))
    return best


def _unit(machine: Machine) -> Check:
    ask = machine.ask
    status = service_status(machine.layout, (lambda *a: ask(*a) or "") if ask is not None else None)
    found = describe_short(status)
    if not status.installed:
        return skipped("service", f"{found} (sudo cfvgg-edge service install)")
    if status.properties.get("ActiveState") == "failed":
        fix = f"journalctl -u {UNIT} -n 30, then sudo systemctl reset-failed {UNIT}"
        return failure("service", found, fix)
    if status.differs:
        names = ", ".join(map(str, status.differs))
        return warning("service", f"{found}; not up to date: {names}", "sudo cfvgg-edge service install")
    if status.properties and not status.active:
        return warning("service", found, f"sudo systemctl start {UNIT}")
    return ok("service", found)


def _sockets(folder: Path) -> Iterator[Check]:
    """Whether somebody answers at each socket."""
    try:
        paths = [p for p in sorted(folder.glob("*.sock")) if stat.S_ISSOCK(p.lstat().st_mode)]
    except OSError:
        paths = []
    if not paths:
        yield skipped("sockets", f"none in {folder}: no tracker runs, or it is not for this user to see")
        return
    answering, stale = [], []
    for path in paths:
        try:
            connect(path, ANSWER_S).close()
            answering.append(path.name)
        except ServiceError as error:
            if isinstance(error.__cause__, ConnectionRefusedError):
                stale.append(path)
                continue
            yield failure("sockets", f"{path}: {error.what}", error.fix or "restart the service")
    if stale:
        fix = f"rm {' '.join(map(str, stale))}; a new tracker replaces them by itself"
        names = ", ".join(path.name for path in stale)
        yield warning("sockets", f"nobody answers at {names} in {folder}", fix)
    if answering:
        yield ok("sockets", f"{', '.join(answering)} in {folder} answer")
