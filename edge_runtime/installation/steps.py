"""What installing and removing consist of: steps that say what they do, and do nothing the second time."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_runtime.errors import InstallationError
from edge_runtime.files import fsync_folder, storage_errors, write_atomic

COMMAND_S = 180.0  # starting waits for the first frame


class Step(Protocol):
    """One change of the system."""

    def needed(self) -> bool:
        """Whether it would change anything."""

    def describe(self) -> str:
        """What it does, after "would"."""

    def apply(self) -> None:
        """Do it. Raises `InstallationError` or `StorageError`."""


@dataclass(frozen=True)
class WriteFile:
    """A file with this content, readable for `group` only if there is such a group, else for everyone."""

    path: Path
    data: bytes
    group: str | None = None

    def needed(self) -> bool:
        """Whether it is missing or has other content."""
        try:
            return self.path.read_bytes() != self.data
        except OSError:
            return True

    def describe(self) -> str:
        """Says the path."""
        return f"write {self.path}"

    def apply(self) -> None:
        """Replace it in one step."""
        group_id = group_number(self.group) if self.group else None
        if group_id is None:
            write_atomic(self.path, self.data)
        else:
            write_atomic(self.path, self.data, 0o640, group_id)


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    path: Path
    target: str

    def needed(self) -> bool:
        """Whether it is missing or leads elsewhere."""
        return not self.path.is_symlink() or str(self.path.readlink()) != self.target

    def describe(self) -> str:
        """Says the path and where it leads."""
        return f"link {self.path} to {self.target}"

    def apply(self) -> None:
        """Replace it in one step."""
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            new = self.path.with_name(f".{self.path.name}.new")
            new.unlink(missing_ok=True)
            new.symlink_to(self.target)
            new.replace(self.path)
            fsync_folder(self.path.parent)


@dataclass(frozen=True)
class MakeFolder:
    """A folder that belongs to a user and its group; one that is there stays as it is."""

    path: Path
    owner: str

    def needed(self) -> bool:
        """Whether it is missing."""
        return not self.path.is_dir()

    def describe(self) -> str:
        """Says the path and the owner."""
        return f"make {self.path} for {self.owner}"

    def apply(self) -> None:
        """Make it and its parents."""
        with storage_errors(self.path):
            self.path.mkdir(parents=True)
            with contextlib.suppress(LookupError):  # no such account in an image that was never started
                shutil.chown(self.path, self.owner, self.owner)


@dataclass(frozen=True)
class Remove:
    """A file or link, a folder with all in it, or a folder only if it is empty."""

    path: Path
    only_empty: bool = False

    def needed(self) -> bool:
        """Whether there is something to remove."""
        if self.only_empty:
            return self.path.is_dir() and not any(self.path.iterdir())
        return self.path.exists() or self.path.is_symlink()

    def describe(self) -> str:
        """Says the path."""
        return f"remove {self.path}"

    def apply(self) -> None:
        """Remove it."""
        with storage_errors(self.path):
            if self.path.is_dir() and not self.path.is_symlink():
                shutil.rmtree(self.path)
            else:
                self.path.unlink()


@dataclass(frozen=True)
class Command:
    """A program of the system.

    Attributes:
        arguments: the program and its arguments.
        fix: what to do when it fails.
        may_fail: whether it is no error when it fails, or is not there.
    """

    arguments: tuple[str, ...]
    fix: str | None = None
    may_fail: bool = False

    def needed(self) -> bool:
        """Always, unless it may fail and is not there."""
        return not self.may_fail or shutil.which(self.arguments[0], path=_path()) is not None

    def describe(self) -> str:
        """Says the command line."""
        return f"run {' '.join(self.arguments)}"

    def apply(self) -> None:
        """Run it and wait."""
        try:
            done = subprocess.run(
                self.arguments,
                capture_output=True,
                text=True,
                check=False,
                timeout=COMMAND_S,
                env=os.environ | {"PATH": _path(), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InstallationError(f"cannot run {self.arguments[0]} ({error})", fix=self.fix) from error
        if done.returncode and not self.may_fail:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise InstallationError(f"{' '.join(self.arguments)}: {said[0]}", fix=self.fix)


def _path() -> str:
    """Where programs are looked for: `su` without a login leaves root without /usr/sbin."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def perform(steps: Iterable[Step], dry_run: bool = False) -> Iterator[str]:
    """Do what is needed, or only say it; one line for each step that changes something."""
    for step in steps:
        if not step.needed():
            continue
        if dry_run:
            yield f"would {step.describe()}"
        else:
            step.apply()
            yield step.describe()


def group_number(name: str) -> int | None:
    """Number of a group of this system; None if there is none, or only root could give files to it."""
    try:
        number = grp.getgrnam(name).gr_gid
    except KeyError:
        return None
    return number if os.geteuid() == 0 else None
