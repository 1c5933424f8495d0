"""The store of bundles: folders named by what is in them. What is cut off leaves none half written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.deployment.contents import SIGNATURE_FILE, Contents, verified, walked
from edge_runtime.deployment.place import ID, short
from edge_runtime.deployment.selection import Selection, Settled, locked
from edge_runtime.deployment.signatures import signer
from edge_runtime.errors import BundleError, StorageError, StoreError
from edge_runtime.files import fsync_folder, storage_errors, write_atomic
from edge_runtime.manifest import MANIFEST_FILE

LOCK, INCOMING = ".lock", ".incoming-"
LEAST_PREFIX = 8
LOCK_WAIT_S = 5.0
RETRY_S = 0.05


@dataclass(frozen=True)
class Added:
    """What `Store.add` did: whether the bundle is new here, and who signed it."""

    id: str
    added: bool
    signed_by: str | None


@dataclass(frozen=True)
class Kept:
    """A bundle in the store; `size_bytes` of all files, `added_unix` seconds."""

    id: str
    name: str
    added_unix: float
    size_bytes: int


class Store:
    """Bundles in a folder, which only root changes.

    Args:
        folder: made when something is added.
        signers: whom the device trusts; see `signatures.signer`.

    Attributes:
        selection: which of them is in use.
    """

    def __init__(self, folder: Path, signers: Path) -> None:
        self.folder, self.signers = folder, signers
        self.selection = Selection(folder)

    def kept(self) -> list[Kept]:
        """Every bundle, the newest first."""
        found = [self._kept(path) for path in self._folders()]
        return sorted(found, key=lambda kept: (kept.added_unix, kept.id), reverse=True)

    def find(self, prefix: str) -> str:
        """The id that starts with `prefix`, of 8 digits or more. Raises `StoreError` unless there is one."""
        if len(prefix) < LEAST_PREFIX or not set(prefix) <= set("0123456789abcdef"):
            fix = f"give {LEAST_PREFIX} digits of it or more; cfvgg-edge bundle list shows them"
            raise StoreError(f"{prefix!r:.80} is no bundle's id", fix=fix)
        found = [path.name for path in self._folders() if path.name.startswith(prefix)]
        if len(found) != 1:
            how_many = "no bundle is" if not found else f"{len(found)} bundles are"
            fix = "cfvgg-edge bundle list shows them"
            raise StoreError(f"{how_many} called {prefix}", where=self.folder, fix=fix)
        return found[0]

    def check(self, name: str) -> tuple[Contents, str | None]:
        """Look at every file of a bundle here, and at its signature.

        Returns:
            What is in it, and who signed it.

        Raises:
            BundleError: it is damaged, or not signed as this device asks.
        """
        contents = verified(self.folder / name)
        if contents.id != name:
            raise BundleError("SHA256SUMS was changed", where=self.folder / name, fix="add it again")
        return contents, signer(self.folder / name, self.signers)

    @contextlib.contextmanager
    def changing(self, restart: Settled) -> Iterator[None]:
        """While active, no other command changes the store; what others left behind is cleared away first.

        Args:
            restart: starts the service again, when a trial was cut off; called with the old bundle in place.

        Raises:
            StoreError: another command is at it.
            StorageError: the folder cannot be written.
        """
        self._make_folder()
        with self._lock():
            self._settle(restart)
            yield

    def add(self, fill: Callable[[Path], None], restart: Settled, wanted: str | None = None) -> Added:
        """A new bundle, unless it is here already.

        Args:
            fill: writes the bundle into an empty folder.
            restart: see `changing`.
            wanted: the id that it must have; None for any.

        Raises:
            BundleError: it is damaged, of another id, or not signed as this device asks.
            StorageError: it cannot be written; nothing is left behind.
        """
        with self._incoming(restart) as incoming:
            fill(incoming)
            contents = verified(incoming)
            if wanted is not None and contents.id != wanted:
                what = f"is bundle {short(contents.id)}, not {short(wanted)}"
                raise BundleError(what, where="what has come", fix="send it again")
            signed_by = signer(incoming, self.signers)
            with self.changing(restart):
                added = self._take_in(incoming, contents)
        return Added(contents.id, added, signed_by)

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep` bundles, and never one in use. Returns the removed ids."""
        names, removed = self.selection.names(), []
        for kept in self.kept()[keep:]:
            if kept.id not in names:
                self._remove(self.folder / kept.id)
                removed.append(kept.id)
        return removed

    def _kept(self, path: Path) -> Kept:
        name = "unreadable"
        with contextlib.suppress(OSError, ValueError, RecursionError):
            manifest: Any = json.loads((path / MANIFEST_FILE).read_bytes())
            name = str(manifest["name"]) if isinstance(manifest, dict) and "name" in manifest else name
        size_bytes = 0
        with contextlib.suppress(BundleError):
            size_bytes = sum(size for _, size in walked(path))
        return Kept(path.name, name, path.stat().st_mtime, size_bytes)

    def _folders(self) -> list[Path]:
        try:
            return sorted(p for p in self.folder.iterdir() if ID.fullmatch(p.name) and p.is_dir())
        except OSError:
            return []

    def _make_folder(self) -> None:
        place = self.folder
        if not place.is_dir():
            with storage_errors(place):
                place.mkdir(parents=True, exist_ok=True)
                place.chmod(0o755)
                fsync_folder(place.parent)
        if not os.access(place, os.W_OK | os.X_OK):
            raise StorageError("may not be written by this user", where=place, fix="run it with sudo")

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        path = self.folder / LOCK
        with storage_errors(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline_s = time.monotonic() + LOCK_WAIT_S
            while not locked(handle):
                if time.monotonic() > deadline_s:
                    raise StoreError("another command is changing bundles", where=path, fix="wait for it")
                time.sleep(RETRY_S)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _incoming(self, restart: Settled) -> Iterator[Path]:
        """A folder to fill. Its lock tells other commands, which may go on, that it is not left over."""
        with self.changing(restart), storage_errors(self.folder):
            folder = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.folder))
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            locked(handle)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)

    def _take_in(self, incoming: Path, contents: Contents) -> bool:
        place = self.folder / contents.id
        if place.is_dir():
            with contextlib.suppress(BundleError):
                there = verified(place)
                if there.id == contents.id:
                    self._take_signature(incoming, place)
                    return False
            # It was damaged here. The one in use is replaced as well: its service has it in memory.
            self._remove(place)
        with storage_errors(place):
            # The time when it came here, which renaming would not tell.
            os.utime(incoming)
            incoming.rename(place)
            fsync_folder(self.folder)
        return True

    def _take_signature(self, incoming: Path, place: Path) -> None:
        """The same bundle may come again with a signature, or another one; it is checked by now."""
        new, old = incoming / SIGNATURE_FILE, place / SIGNATURE_FILE
        if new.is_file() and not (old.is_file() and old.read_bytes() == new.read_bytes()):
            write_atomic(old, new.read_bytes())

    def _settle(self, restart: Settled) -> None:
        self.selection.settle(restart)
        for left in self.folder.glob(f"{INCOMING}*"):
            self._remove_unlocked(left)

    def _remove_unlocked(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if locked(handle):
                    shutil.rmtree(folder)
            finally:
                os.close(handle)

    def _remove(self, folder: Path) -> None:
        """Out of the store in one step: what is cut off while deleting is no bundle any more."""
        with storage_errors(folder):
            aside = Path(tempfile.mkdtemp(prefix=INCOMING, dir=self.folder))
            folder.rename(aside / folder.name)
            fsync_folder(self.folder)
            shutil.rmtree(aside)
