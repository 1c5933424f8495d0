"""A video file, decoded by OpenCV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import RecordedSource
from edge_runtime.types import Frame

# Containers without an index only estimate their frame count; a file that yields less than this
# share of it is taken as damaged.
LEAST_SHARE = 0.9


class VideoSource(RecordedSource):
    """The frames of a video file, each decoded when it is asked for.

    Raises:
        SourceError: not a video that OpenCV can decode, or it has no frames.
    """

    def __init__(self, path: Path) -> None:
        self.uri = str(path)
        self._capture = cv2.VideoCapture(self.uri, cv2.CAP_FFMPEG)
        first = self._next() if self._capture.isOpened() else None
        if first is None:
            self._capture.release()
            raise SourceError("cannot be decoded as a video", where=path, fix="check it with a video player")
        self._first: Frame | None = first
        self.frame_size = (first.shape[1], first.shape[0])
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate_hz = rate_hz if math.isfinite(rate_hz) and rate_hz > 0 else None
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frame_count = int(count) if math.isfinite(count) and count > 0 else None

    def images(self) -> Iterator[Frame]:
        """The frames, each decoded when it is asked for."""
        decoded = 0
        image, self._first = self._first, None
        while image is not None:
            decoded += 1
            yield image
            image = self._next()
        if self.frame_count is not None and decoded < LEAST_SHARE * self.frame_count:
            raise SourceError(
                f"frame {decoded} of {self.frame_count} cannot be decoded",
                where=self.uri,
                fix="the file is damaged or cut off",
            )

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _next(self) -> Frame | None:
        decoded, image = self._capture.read()
        return cast(Frame, image) if decoded else None
