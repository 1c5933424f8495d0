"""What publishers are: places where track records go, and what every kind of them counts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from edge_runtime.records import TrackRecord


class Counted(Protocol):
    """What the metrics tell of.

    Attributes:
        name: of a fixed, small set; a label in the metrics.
    """

    name: str

    @property
    def sent(self) -> int:
        """Records delivered so far."""

    @property
    def dropped(self) -> int:
        """Records lost so far; those that a sink has given up itself, if it is one."""


class Publisher(Counted, Protocol):
    """Where the loop hands its records to."""

    def publish(self, record: TrackRecord) -> None:
        """Take one record. Raises `StorageError` in a recording run, and nothing in a live one."""

    def close(self) -> None:
        """Finish within about a second; may be called more than once."""


class Sink(Counted, Protocol):
    """One kind of destination, which may take its time and fail; `Direct` or `Queued` stands before it."""

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        """Send records, all of them or none.

        Raises:
            CfvggError: none was sent, and they may be offered again.
        """

    def close(self) -> None:
        """Finish; may be called more than once."""


class Direct:
    """A publisher that delivers each record before it returns: recording runs lose nothing silently.

    Args:
        sink: receives the records.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink, self.name = sink, sink.name

    @property
    def sent(self) -> int:
        """Records delivered so far."""
        return self._sink.sent

    @property
    def dropped(self) -> int:
        """Records lost so far."""
        return self._sink.dropped

    def publish(self, record: TrackRecord) -> None:
        """Deliver one record. Raises `StorageError` when it cannot be."""
        self._sink.deliver([record])

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


class Rate:
    """Lets frames through at most so many times a second, by the time they were captured.

    Args:
        max_rate_hz: 0 lets all through.
    """

    def __init__(self, max_rate_hz: float) -> None:
        self._period_ns = 1e9 / max_rate_hz if max_rate_hz else 0.0
        self._due_ns = -float("inf")
        self._frame, self._answer = -1, True

    def due(self, record: TrackRecord) -> bool:
        """Whether this one goes through; the same for all targets of a frame."""
        if record.frame != self._frame:
            self._frame, self._answer = record.frame, self._decide(record.t_monotonic_ns)
        return self._answer

    def _decide(self, now_ns: int) -> bool:
        wait_ns = self._due_ns - now_ns
        # More than a period ahead: the capture time has jumped back, which must not silence the stream.
        if 0 < wait_ns <= self._period_ns:
            return False
        # On the grid of due times, so that jitter does not lower the rate; a pause begins a new grid.
        on_grid = -self._period_ns < wait_ns <= 0
        self._due_ns = (self._due_ns if on_grid else now_ns) + self._period_ns
        return True


@lru_cache(maxsize=1)
def version() -> str:
    """Of the installed package."""
    try:
        return importlib.metadata.version("cfvgg")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=128)  # a second of several targets: files are written so often
def encoded(record: TrackRecord) -> bytes:
    """The record as JSON in UTF-8, without a newline; made once for all publishers."""
    return record.to_json().encode()
