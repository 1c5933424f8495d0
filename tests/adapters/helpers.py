"""A tracker that does as it is told, and what it was shown."""

from __future__ import annotations

from collections.abc import Sequence

from edge_runtime.errors import SourceError
from edge_runtime.types import Box, Frame, TrackResult, TrackState


class ScriptedTracker:
    """Returns the given results one after the other; keeps copies of the images and boxes it is given."""

    def __init__(self, results: Sequence[TrackResult | Exception] = ()) -> None:
        self.results = list(results)
        self.shown: list[Frame] = []
        self.boxes: list[Box] = []

    def init(self, image: Frame, box: Box) -> None:
        self.boxes.append(box)
        self.shown.append(image.copy())

    def update(self, image: Frame) -> TrackResult:
        self.shown.append(image.copy())
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result


def result(box: Sequence[float], score: float = 0.9, state: TrackState = TrackState.TRACKING) -> TrackResult:
    x, y, w, h = box
    return TrackResult(Box(x, y, w, h), score, 20.0, state, 1.0)


SIZE_CHANGED = SourceError("the frame is 4x4, the first was 8x8", fix="give frames of one size")
