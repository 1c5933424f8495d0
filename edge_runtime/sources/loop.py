"""A recording again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from edge_runtime.sources.base import RecordedSource
from edge_runtime.types import Frame


class LoopedSource(RecordedSource):
    """Repeats a recording without end, opening it afresh for every round.

    Args:
        make: opens the recording.

    Raises:
        SourceError: it cannot be opened.
    """

    frame_count = None

    def __init__(self, make: Callable[[], RecordedSource]) -> None:
        self._make = make
        self._now = make()
        self.uri, self.frame_size = self._now.uri, self._now.frame_size
        self.frame_rate_hz = self._now.frame_rate_hz

    def images(self) -> Iterator[Frame]:
        """The recording's images, over and over."""
        while True:
            yield from self._now.images()
            self._now.close()
            self._now = self._make()

    def close(self) -> None:
        """Close the recording."""
        self._now.close()
