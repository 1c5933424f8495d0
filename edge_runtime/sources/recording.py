"""A recording played in real time, as if it were a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import RecordedSource
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.types import Frame

MOST_BEHIND_S = 1.0


class RecordingCamera(Camera):
    """Gives the frames of a recording at its rate.

    Args:
        make: opens the recording.
        rate_hz: frames a second; 0 for the recording's own rate.
    """

    reopening = "never"

    def __init__(self, make: Callable[[], RecordedSource], rate_hz: float) -> None:
        self._make, self._asked_hz = make, rate_hz
        self._source: RecordedSource | None = None

    def open(self) -> None:
        """See `Camera.open`."""
        self._source = self._make()
        self.rate_hz = self._asked_hz or self._source.frame_rate_hz
        if self.rate_hz is None:
            raise SourceError("has no rate of its own", where=self._source.uri, fix="set source.rate_hz")
        self._period_s = 1 / self.rate_hz
        self._images: Iterator[Frame] = self._source.images()
        self._due_s = time.monotonic()

    def read(self) -> Capture | None:
        """See `Camera.read`."""
        image = next(self._images, None)
        if image is None:
            return None
        now_s = time.monotonic()
        time.sleep(max(0.0, self._due_s - now_s))
        self._due_s = max(self._due_s, now_s - MOST_BEHIND_S) + self._period_s
        return Capture(image)

    def close(self) -> None:
        """See `Camera.close`."""
        if self._source is not None:
            self._source.close()
