"""JSON lines to a file or to standard output, never half a line."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import StorageError
from edge_runtime.publishers.base import encoded
from edge_runtime.records import TrackRecord

TAIL_BYTES = 65_536
# Conditions that pass without anybody correcting a setting: a live run starts nevertheless.
PASSING = {errno.ENOSPC, errno.EDQUOT, errno.ENXIO}


class StandardOutput:
    """Track records on standard output, which stays open."""

    name = "stdout"

    def __init__(self) -> None:
        self.sent = self.dropped = 0
        # The descriptor, not sys.stdout: nothing may be left in a buffer when a pipe breaks.
        self._descriptor = sys.stdout.fileno()

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        """Write one line for each record.

        Raises:
            StorageError: the reader of the pipe has gone, or the disk is full.
        """
        for record in records:
            try:
                write_whole(self._descriptor, encoded(record) + b"\n")
            except OSError as error:
                raise storage_error("standard output", error) from error
            self.sent += 1

    def close(self) -> None:
        """Nothing: every line is written when `deliver` returns."""


class LinesFile:
    """Track records in a file; other processes may follow it while it grows.

    A line that a killed process left unfinished is cut off on opening, one that does not fit on the
    disk is taken back. A file that is removed or moved away while it is appended to is begun again.

    Args:
        path: the file; its folder is made. A device or named pipe is written to as it is.
        append: append to what is there (live runs), or replace it (recording runs).
        max_bytes: before the file would exceed this it becomes `path.1`, that `path.2`, and so on; 0
            for never. A batch is never divided between two files.
        keep: how many of those are kept; 0 begins the file again.

    Raises:
        StorageError: the file cannot be opened. In a live run a full disk is no error yet.
    """

    name = "file"

    def __init__(self, path: Path, *, append: bool, max_bytes: int = 0, keep: int = 0) -> None:
        self.sent = self.dropped = 0
        self.path, self._append, self._max_bytes, self._keep = path, append, max_bytes, keep
        self._descriptor: int | None = None
        try:
            self._descriptor = self._opened(0 if append else os.O_TRUNC)
        except OSError as error:
            if not (append and error.errno in PASSING):
                raise storage_error(path, error) from error

    @property
    def regular(self) -> bool:
        """False for a device or a named pipe."""
        return not self.path.exists() or self.path.is_file()

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        """Write one line for each record, all of them at once.

        Raises:
            StorageError: nothing was written, because the disk is full or the file inaccessible.
        """
        data = b"".join(encoded(record) + b"\n" for record in records)
        try:
            write_whole(self._ready(len(data)), data)
        except OSError as error:
            # Whatever is wrong with the descriptor or the file's end is put right by opening it again.
            self.close()
            raise storage_error(self.path, error) from error
        self.sent += len(records)

    def close(self) -> None:
        """Close the file; the next `deliver` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _ready(self, count: int) -> int:
        """The descriptor of a file with room for `count` bytes more."""
        if self._append and self._moved_away():
            self.close()
        if self._descriptor is None:
            self._descriptor = self._opened()
        size = os.fstat(self._descriptor).st_size
        if self._max_bytes and size and size + count > self._max_bytes:
            self.close()
            self._rotate()
            self._descriptor = self._opened()
        return self._descriptor

    def _moved_away(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            return not os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        # The oldest first: a process killed on the way leaves a gap, and loses nothing.
        names = [self.path, *(Path(f"{self.path}.{n}") for n in range(1, self._keep + 1))]
        if not self._keep:
            self.path.unlink()
        for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def _opened(self, truncate: int = 0) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.regular:
            # A named pipe without a reader must not hold a live run up.
            return os.open(self.path, os.O_WRONLY | (os.O_NONBLOCK if self._append else 0))
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | truncate, 0o644)
        try:
            _cut_torn_line(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of `data`; when that fails, take back from a file what was written of it.

    To a pipe, up to 4096 bytes go as a whole or not at all.

    Raises:
        OSError: the disk is full, or nobody reads the pipe any more.
    """
    written = 0
    try:
        while written < len(data):
            try:
                written += os.write(descriptor, data[written:])
            except BlockingIOError:
                select.select([], [descriptor], [])
    except OSError:
        if written and stat.S_ISREG(os.fstat(descriptor).st_mode):
            end = os.lseek(descriptor, 0, os.SEEK_CUR) - written
            os.ftruncate(descriptor, end)
            os.lseek(descriptor, end, os.SEEK_SET)
        raise


def storage_error(where: str | Path, error: OSError) -> StorageError:
    """What failed to be written, as one line with its fix."""
    if isinstance(error, BrokenPipeError):
        return StorageError("the reader closed the pipe", where=where, fix="read it to the end")
    reason = error.strerror or str(error)
    return StorageError(
        f"cannot be written ({reason})", where=where, fix="free space or choose another place"
    )


def _cut_torn_line(descriptor: int) -> None:
    """Make a file end where its last line ends."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - TAIL_BYTES)
    tail = os.pread(descriptor, TAIL_BYTES, start)
    if not tail or tail.endswith(b"\n"):
        return
    end = tail.rfind(b"\n") + 1
    if end or not start:
        os.ftruncate(descriptor, start + end)
    else:
        # Longer than any record: not ours, so it stays, and ours begins on a line of its own.
        write_whole(descriptor, b"\n")
