"""What the service must be able to reach, by its settings: folders, addresses, device events."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import site
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import edge_runtime
from edge_runtime.config import Config
from edge_runtime.errors import ConfigError, InstallationError
from edge_runtime.installation.layout import Layout, program

# Settings that name files which are read, files that are written, and addresses. Other names are ignored.
READ = ("model.bundle", "tracker.colour_names", "evaluation.groundtruth", "mqtt.ca_file")
SECRET = ("mqtt.password_file",)
WRITTEN = ("output.tracks", "output.video", "output.contact_sheet")
ADDRESSES = ("udp.host", "mqtt.host")
LOOPBACK = ("metrics.listen",)  # an address unless "unix"

# The unit's watchdog, and how much later than the source's own attempts it must come.
WATCHDOG_S, WATCHDOG_SPARE_S = 60.0, 30.0

# The unit hides these: ProtectHome=tmpfs shows empty folders, PrivateTmp= the service's own.
HOMES = ("home", "root", "run/user")
TEMPORARY = ("tmp", "var/tmp")
# What needs no quoting in a unit file; a colon would divide a path in two.
PLAIN = re.compile(r"[\w./+@,=~-]+")


SourceKind = Literal["none", "fake", "picamera2", "v4l2", "stream", "file"]


def source_kind(uri: str) -> SourceKind:
    """What `source.uri` names."""
    if not uri:
        return "none"
    starts: dict[str, SourceKind] = {
        "fake:": "fake",
        "picamera2:": "picamera2",
        "v4l2:": "v4l2",
        "/dev/": "v4l2",
        "rtsp:": "stream",
        "http:": "stream",
        "https:": "stream",
    }
    return next((kind for start, kind in starts.items() if uri.startswith(start)), "file")


@dataclass(frozen=True)
class Needs:
    """Beyond what the unit allows anyway.

    Attributes:
        read: files and folders that the settings name, for everyone to read.
        secrets: files for nobody but the service to read.
        shown: those of both, and of this program, that are in people's homes: to be shown, read only.
        written: folders to be written to.
        addresses: the settings that name an address on the network.
        loopback: the settings that name one of this machine.
        camera_events: whether libcamera listens for devices that come and go.
        watchdog_s: how long opening the source again may take, if that is longer than the unit allows.
    """

    read: tuple[Path, ...]
    secrets: tuple[Path, ...]
    shown: tuple[Path, ...]
    written: tuple[Path, ...]
    addresses: tuple[str, ...]
    loopback: tuple[str, ...]
    camera_events: bool
    watchdog_s: int | None


def needs(config: Config, layout: Layout) -> Needs:
    """What these settings, and this program, need. Asks nothing of the file system but where links lead.

    Raises:
        ConfigError: a path is not whole, or in a folder that the service has to itself.
    """
    values = _flat(config)
    uri, kind = config.source.uri, source_kind(config.source.uri)
    read = _named(values, READ)
    if kind == "file":
        read["source.uri"] = uri
    addresses = tuple(_named(values, ADDRESSES))
    places = [_whole(name, text) for name, text in read.items()]
    secrets = [_whole(name, text) for name, text in _named(values, SECRET).items()]
    shown = [shown for place in (*places, *secrets, *program_folders()) for shown in _hidden(place, layout)]
    return Needs(
        read=tuple(places),
        secrets=tuple(secrets),
        shown=tuple(_outermost(shown)),
        written=tuple(_outermost(_written(_named(values, WRITTEN), layout))),
        addresses=addresses + (("source.uri",) if kind == "stream" else ()),
        loopback=tuple(name for name, text in _named(values, LOOPBACK).items() if text != "unix"),
        camera_events=kind == "picamera2",
        watchdog_s=_watchdog_s(values),
    )


def _named(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    """Those of the settings that are not empty."""
    return {name: str(values[name]) for name in names if values.get(name)}


def _watchdog_s(values: dict[str, Any]) -> int | None:
    """See `Needs.watchdog_s`: a stall, then the pauses before each attempt."""
    wait_s, most_s = values.get("source.reopen_wait_s", 0.0), values.get("source.reopen_most_s", 0.0)
    ladder_s = float(values.get("source.capture_timeout_s", 0.0))
    for _ in range(min(values.get("source.give_up_after", 0), 1000)):
        ladder_s += wait_s
        wait_s = min(2 * wait_s, most_s)
    needed_s = ladder_s + WATCHDOG_SPARE_S
    return math.ceil(needed_s) if needed_s > WATCHDOG_S else None


def check_program() -> None:
    """Raise `InstallationError` if the service's user could not run this program."""
    package = Path(edge_runtime.__file__).parent
    if package.is_relative_to(site.getusersitepackages()):
        raise InstallationError(
            "was installed for one user only (pip install --user)",
            where=package,
            fix="install it into a virtual environment: python3 -m venv --system-site-packages ~/cfvgg",
        )
    for folder in (program(), *program_folders()):
        check_readable(folder)


def check_readable(path: Path) -> None:
    """Raise `InstallationError` unless everyone may read a file, or a folder and what is directly in it.

    Homes above it do not matter, since the service sees it without them.
    """
    inside = sorted(path.iterdir()) if path.is_dir() else []
    above = [folder for folder in path.parents if not _under(path, HOMES)]
    for entry in (*above, path, *inside):
        if not entry.exists():
            continue
        wanted = stat.S_IXOTH if entry in above else stat.S_IROTH | (stat.S_IXOTH if entry.is_dir() else 0)
        if entry.stat().st_mode & wanted != wanted:
            raise InstallationError(
                "may not be read by the service's user", where=entry, fix=f"sudo chmod -R o+rX {path}"
            )


def program_folders() -> list[Path]:
    """Where this Python, its packages and this package are."""
    package = Path(edge_runtime.__file__).resolve().parents[1]
    return [Path(sys.prefix), Path(sys.base_prefix), package]


def _written(files: dict[str, str], layout: Layout) -> Iterator[Path]:
    """Folders of written files that the service does not have to itself anyway."""
    own = Path("/", layout.state.relative_to(layout.root))
    for name, text in files.items():
        if text == "-":
            raise ConfigError(
                f'{name} = "-" would fill the journal with records', fix=f"give a file in {own}"
            )
        folder = _whole(name, text).parent
        if next(_hidden(folder, layout), None):
            raise ConfigError(
                f"{name} = {text!r} is in a home folder, where the service may not write",
                fix=f"give a file in {own}",
            )
        if not folder.is_relative_to(own):
            yield folder


def _whole(name: str, text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ConfigError(f"{name} = {text!r} is not a whole path", fix=f"give {Path.cwd() / path}")
    if not PLAIN.fullmatch(text):
        raise ConfigError(f"{name} = {text!r} cannot stand in a unit file", fix="use letters, digits and ._-")
    if _under(path, TEMPORARY):
        raise ConfigError(f"{name} = {text!r}: the service has a /tmp of its own", fix="move it elsewhere")
    return path


def _hidden(path: Path, layout: Layout) -> Iterator[Path]:
    """The path, and where it leads, as far as they are in people's homes."""
    led = Path(os.path.realpath(layout.root / path.relative_to("/")))
    if led.is_relative_to(layout.root):
        led = Path("/") / led.relative_to(layout.root)
    for place in dict.fromkeys((path, led)):
        if _under(place, HOMES):
            yield place


def _under(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path.is_relative_to(Path("/") / folder) for folder in folders)


def _outermost(paths: Iterator[Path] | list[Path]) -> list[Path]:
    """Each path once, without those inside another one."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept


def _flat(config: Config) -> dict[str, Any]:
    """Dotted names to values."""
    found: dict[str, Any] = {}

    def walk(table: dict[str, Any], prefix: str) -> None:
        for key, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")
            else:
                found[prefix + key] = value

    walk(dataclasses.asdict(config), "")
    return found
