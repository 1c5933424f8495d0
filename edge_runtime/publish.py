"""Where records go. Each publisher takes one record at a time and never leaves half a one behind."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from edge_runtime.errors import StorageError
from edge_runtime.records import TrackRecord


class Publisher(Protocol):
    """Somewhere that records go."""

    def publish(self, record: TrackRecord) -> None:
        """Send one record. Raises `StorageError` when it cannot be delivered."""

    def close(self) -> None:
        """Finish; may be called more than once."""


class JsonLinesPublisher:
    """One JSON object a line, each written at once, to a file (replaced) or standard output.

    Readers may follow the file while it grows, so lines go straight into it, unbuffered; a line
    that does not fit on the disk is taken back.

    Args:
        path: the file, or "-" for standard output.

    Raises:
        StorageError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self.where = "standard output" if path == "-" else path
        # File descriptors, not sys.stdout: nothing may be left in a buffer when a pipe breaks.
        try:
            if path == "-":
                self._file = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
            else:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                self._file = io.FileIO(path, "w")
        except OSError as error:
            raise self._storage_error(error) from error

    def publish(self, record: TrackRecord) -> None:
        """Write one line.

        Raises:
            StorageError: the disk is full or the reader of the pipe has gone.
        """
        line = record.to_json().encode() + b"\n"
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        except OSError as error:
            self._take_back(written)
            raise self._storage_error(error) from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_back(self, written: int) -> None:
        if written and self._file.seekable():
            os.ftruncate(self._file.fileno(), self._file.tell() - written)

    def _storage_error(self, error: OSError) -> StorageError:
        if isinstance(error, BrokenPipeError):
            return StorageError("the reader closed the pipe", where=self.where, fix="read it to the end")
        reason = error.strerror or str(error)
        return StorageError(
            f"cannot be written ({reason})", where=self.where, fix="free space or choose another place"
        )
