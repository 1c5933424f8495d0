"""A recording that tells the same story each time: frames carry their own time, not the clock's."""

from __future__ import annotations

from collections.abc import Iterator

from edge_runtime.sources.base import CapturedFrame, RecordedSource
from edge_runtime.types import Frame

USUAL_RATE_HZ = 30.0


class ReplaySource(RecordedSource):
    """A recording whose frame n was taken n frame periods after 0; pictures count as 30 a second.

    Args:
        recording: open; closed with this.
    """

    def __init__(self, recording: RecordedSource) -> None:
        self._recording = recording
        self.uri, self.frame_size = recording.uri, recording.frame_size
        self.frame_rate_hz, self.frame_count = recording.frame_rate_hz, recording.frame_count

    def images(self) -> Iterator[Frame]:
        """See `RecordedSource.images`."""
        return self._recording.images()

    def __iter__(self) -> Iterator[CapturedFrame]:
        period_ns = 1e9 / (self.frame_rate_hz or USUAL_RATE_HZ)
        for frame in super().__iter__():
            yield CapturedFrame(frame.image, frame.index, round(frame.index * period_ns), None)

    def close(self) -> None:
        """Close the recording."""
        self._recording.close()
