"""The machine as its file system shows it, below a root that tests make up."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.installation.layout import USER, Layout

# The output of a program; None if it cannot be run or fails.
Ask = Callable[..., str | None]
SUPPLEMENTARY = "video"  # of the unit


def run(*arguments: str) -> str | None:
    """What a program prints."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@dataclass(frozen=True)
class Person:
    """Who uses the devices: the service's user if there is one, else whoever runs this.

    Attributes:
        name: of the account.
        user: its number.
        groups: numbers of all its groups.
        here: whether it is this process's own.
    """

    name: str
    user: int
    groups: frozenset[int]
    here: bool

    def may(self, path: Path, mode: int) -> bool:
        """Whether it has the rights `mode` (os.R_OK, os.W_OK, os.X_OK) on a file.

        Of this process the kernel is asked, which knows of access lists.
        """
        if self.here:
            return os.access(path, mode)
        found = path.stat()
        if self.user == 0:
            return True
        shift = 6 if found.st_uid == self.user else 3 if found.st_gid in self.groups else 0
        return (stat.S_IMODE(found.st_mode) >> shift & 7) & mode == mode


@dataclass(frozen=True)
class Machine:
    """Reads files below `root`.

    Attributes:
        root: where the file system starts.
        ask: runs a program of the machine; None where none can be run.
    """

    root: Path = Path("/")
    ask: Ask | None = run

    @property
    def live(self) -> bool:
        """Whether this is the machine that runs this."""
        return self.root == Path("/")

    @property
    def layout(self) -> Layout:
        """Where the service's files are."""
        return Layout(self.root)

    def path(self, absolute: str | Path) -> Path:
        """A path of the machine as one of this process."""
        return self.root / str(absolute).lstrip("/")

    def read(self, absolute: str | Path) -> str | None:
        """A text file's content without white space around it; None if there is none to be had."""
        try:
            return self.path(absolute).read_bytes().decode(errors="replace").strip("\0 \n\t")
        except OSError:
            return None

    def number(self, absolute: str | Path) -> int | None:
        """A file that holds a whole number; None if it does not."""
        try:
            return int(self.read(absolute) or "")
        except ValueError:
            return None

    def fields(self, absolute: str | Path) -> dict[str, str]:
        """Lines `name: value` (or `name = value`) of a file, as in /proc/meminfo; the first of each name."""
        found: dict[str, str] = {}
        for line in (self.read(absolute) or "").splitlines():
            name, _, value = line.replace("=", ":", 1).partition(":")
            found.setdefault(name.strip(), value.strip().strip('"'))
        return found

    @property
    def name(self) -> str:
        """Board and system, for the first line."""
        board = self.read("/proc/device-tree/model") or self.read("/sys/class/dmi/id/product_name")
        system = self.fields("/etc/os-release").get("PRETTY_NAME", "an unknown system")
        return f"{board or 'a computer'}, {system}"

    @property
    def is_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return "Raspberry Pi" in (self.read("/proc/device-tree/model") or "")

    def person(self) -> Person:
        """Whose rights count."""
        entry = self._account(USER) if self.layout.unit.is_file() else None
        if entry is None:
            name = os.environ.get("USER") or f"user {os.geteuid()}"
            return Person(name, os.geteuid(), frozenset((os.getegid(), *os.getgroups())), here=True)
        user, group = entry
        members = {
            number
            for name, number, people in self._groups()
            if name in (USER, SUPPLEMENTARY) or USER in people
        }
        return Person(USER, user, frozenset({group, *members}), here=False)

    def group_of(self, path: Path) -> str:
        """Name of a file's group."""
        number = path.stat().st_gid
        return next((name for name, this, _ in self._groups() if this == number), str(number))

    def _account(self, name: str) -> tuple[int, int] | None:
        for line in (self.read("/etc/passwd") or "").splitlines():
            parts = line.split(":")
            if len(parts) > 3 and parts[0] == name:
                return int(parts[2]), int(parts[3])
        return None

    def _groups(self) -> list[tuple[str, int, list[str]]]:
        parts = (line.split(":") for line in (self.read("/etc/group") or "").splitlines())
        return [(p[0], int(p[2]), p[3].split(",")) for p in parts if len(p) > 3 and p[2].isdecimal()]
