"""A tracker in the form of OpenCV's `cv2.Tracker` (4.5.1 and later): one object for another's place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge_runtime.adapters.pictures import to_frame
from edge_runtime.errors import BoxError
from edge_runtime.types import Box, Tracker, TrackResult, TrackState, check_box

IntBox = tuple[int, int, int, int]


class OpenCvTracker:
    """`init(image, (x, y, w, h))`, then `ok, bbox = update(image)`, as with `cv2.TrackerCSRT`.

    Images are uint8, BGR, or grey. As in OpenCV, boxes come out as whole pixels, so that
    `cv2.rectangle(image, bbox, colour)` takes them; `result` has the exact box and the state.

    Attributes:
        tracker: what does the work.
        result: outcome of the latest `update`; None before the first one.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.result: TrackResult | None = None
        self._started = False

    def init(self, image: Any, boundingBox: Sequence[float]) -> None:  # noqa: N803 (OpenCV's name)
        """Start, or start again, on x, y, w, h in pixels, integers or floats.

        Raises:
            BoxError: the box is unusable; the tracker is then not started.
            SourceError: the image is not a picture.
        """
        self._started, self.result = False, None
        frame = to_frame(image, "BGR", "OpenCvTracker.init")
        self.tracker.init(frame, check_box(boundingBox, frame.shape))
        self._started = True

    def update(self, image: Any) -> tuple[bool, IntBox]:
        """Find the target in the next image.

        Returns:
            ok: False exactly when the tracker says `lost`. An uncertain frame is ok: its box is still the
                best guess and usually right; `getTrackingScore` tells how sure it is.
            bbox: x, y, w, h in pixels; where it was looked for last while the target is lost.

        Raises:
            BoxError: there was no `init`.
            SourceError: the image is not a picture, or its size changed.
        """
        if not self._started:
            raise BoxError("there is no target yet", where="OpenCvTracker.update", fix="call init first")
        self.result = self.tracker.update(to_frame(image, "BGR", "OpenCvTracker.update"))
        return self.result.state is not TrackState.LOST, _whole_pixels(self.result.box)

    def getTrackingScore(self) -> float:  # noqa: N802 (OpenCV's name)
        """Confidence of the latest frame, 0 to 1, as `cv2.TrackerNano` has it; 0 before `init`."""
        if self.result is None:
            return 1.0 if self._started else 0.0
        return self.result.score


def _whole_pixels(box: Box) -> IntBox:
    return round(box.x), round(box.y), max(round(box.w), 1), max(round(box.h), 1)
