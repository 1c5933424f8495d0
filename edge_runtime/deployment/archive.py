"""A bundle on its way into the store: out of a tar archive on a pipe, or out of a folder."""

from __future__ import annotations

import io
import os
import select
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from edge_runtime.deployment.contents import walked
from edge_runtime.errors import BundleError, StorageError
from edge_runtime.files import fsync_folder, storage_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_BYTES = 1 << 29
MOST_FILES = 256
MOST_DEPTH = 8
SPARE_BYTES = 20_000_000  # for what else the device writes
STALL_S = 120.0
CHUNK = 1 << 20
AGAIN = "send it again"


class Space:
    """Watches over size and number of files that go into a folder.

    Raises (in `take`):
        BundleError: it becomes larger than any bundle.
        StorageError: the disk has no room for twice the size.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._bytes, self._files = folder, 0, 0
        with storage_errors(folder):
            self._free_bytes = shutil.disk_usage(folder).free

    def take(self, size_bytes: int, where: str | Path) -> None:
        """Another file of that size."""
        self._bytes, self._files = self._bytes + size_bytes, self._files + 1
        if self._bytes > MOST_BYTES or self._files > MOST_FILES:
            most = f"more than {MOST_BYTES >> 20} MB or {MOST_FILES} files"
            raise BundleError(f"is no bundle: {most}", where=where, fix="give one of cfvgg-export")
        if 2 * self._bytes + SPARE_BYTES > self._free_bytes:
            needed_mb, free_mb = (2 * self._bytes + SPARE_BYTES) / 1e6, self._free_bytes / 1e6
            raise StorageError(
                f"has {free_mb:.0f} MB free, a bundle of this size needs {needed_mb:.0f}",
                where=self._folder,
                fix="cfvgg-edge bundle prune, or delete old records",
            )


def unpack(stream: IO[bytes], folder: Path) -> None:
    """Files of a plain tar archive into an empty folder, and onto the disk.

    Raises:
        BundleError: the archive is damaged, ends early, or holds links, devices, or names that lead out.
        StorageError: the disk is full.
    """
    space = Space(folder)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                _unpack_member(archive, member, folder, space)
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        what = f"is no whole tar archive ({' '.join(str(error).split())[:80]})"
        raise BundleError(what, where="standard input", fix=AGAIN) from error
    _sync(folder)


def copy(source: Path, folder: Path) -> None:
    """Files of a bundle's folder into an empty one, and onto the disk. Raises as `unpack` does."""
    if not source.is_dir():
        raise BundleError("is not a bundle folder", where=source, fix="make one with cfvgg-export --int8")
    space = Space(folder)
    for name, size_bytes in walked(source):
        space.take(size_bytes, source / name)
        try:
            file = (source / name).open("rb")
        except OSError as error:
            raise BundleError(f"cannot be read ({error.strerror})", where=source / name) from error
        with file:
            _write(file, folder / name)
    _sync(folder)


class Pipe(io.RawIOBase):
    """Standard input, which must not stand still: a connection may be gone without anybody being told.

    Reading raises `BundleError` when nothing comes for `stall_s` seconds.
    """

    def __init__(self, handle: int, stall_s: float = STALL_S) -> None:
        self._handle, self._stall_s = handle, stall_s

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Wait for some bytes; how many, 0 at the end."""
        if not select.select([self._handle], [], [], self._stall_s)[0]:
            raise BundleError(f"nothing has come for {self._stall_s:g} s", where="standard input", fix=AGAIN)
        return os.readv(self._handle, [buffer])


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, space: Space) -> None:
    name = PurePosixPath(member.name)
    where = f"archive: {member.name:.100}"
    if (
        name.is_absolute()
        or ".." in name.parts
        or len(name.parts) > MOST_DEPTH
        or not member.name.isprintable()
    ):
        raise BundleError("is a name that leads elsewhere", where=where, fix=AGAIN)
    if member.isdir():
        return
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse() or not name.parts:
        raise BundleError("is a link or a device, no file", where=where, fix=AGAIN)
    space.take(member.size, where)
    content = archive.extractfile(member)
    assert content is not None  # it is for files
    if (folder / name).exists():
        raise BundleError("is there twice", where=where, fix=AGAIN)
    with content:
        _write(content, folder / name)


def _write(content: IO[bytes], path: Path) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    with file:
        while chunk := content.read(CHUNK):
            with storage_errors(path):
                file.write(chunk)
        with storage_errors(path):
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """For everyone to read, and on the disk."""
    with storage_errors(folder):
        for place in (folder, *_folders(folder)):
            place.chmod(0o755)
            fsync_folder(place)


def _folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir())
