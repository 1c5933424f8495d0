"""The few types that every part of the runtime shares.

Frames are uint8 arrays of shape (rows, columns, 3) in BGR order, as OpenCV's. Boxes are in pixels,
top-left and size, 0-based floats, as OpenCV's. Positions inside a tracker are (row, column).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BoxError

Frame = NDArray[np.uint8]
FloatArray = NDArray[np.float32]
ComplexArray = NDArray[np.complex64]
# A command and its reply, see docs/service.md; thread-safe, returns at once and never raises.
Handle = Callable[[Mapping[str, Any]], dict[str, Any]]
Place = tuple[float, float]  # row, column in pixels of the frame


MOST_FRAMES = 4  # a box may be so many times as wide or high as the frame


class Box(NamedTuple):
    """Axis-aligned box in pixels: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column) of the centre, in the coordinates of pixel centres."""
        return self.y + (self.h - 1) / 2, self.x + (self.w - 1) / 2

    @classmethod
    def from_centre(cls, row: float, column: float, w: float, h: float) -> Box:
        """The box of size (w, h) around a centre."""
        return cls(column - (w - 1) / 2, row - (h - 1) / 2, w, h)


def check_box(box: Any, frame_shape: tuple[int, ...]) -> Box:
    """Return `box` as a `Box` that a tracker may start on.

    Args:
        box: four numbers x, y, w, h.
        frame_shape: (rows, columns, …) of the frame it lies in.

    Raises:
        BoxError: a value is not finite, the size is not positive or many times the frame's, or no part
            lies in the frame.
    """
    try:
        x, y, w, h = (float(v) for v in box)
    except (TypeError, ValueError) as error:
        raise BoxError(f"{box!r} is not a box", fix="give four numbers x,y,w,h in pixels") from error
    shown = f"box {x:g},{y:g},{w:g},{h:g}"
    if not all(math.isfinite(v) for v in (x, y, w, h)):
        raise BoxError(f"{shown} is not finite")
    if w < 1 or h < 1:
        raise BoxError(f"{shown} is empty", fix="width and height must be at least 1 px")
    rows, columns = frame_shape[:2]
    if w > MOST_FRAMES * columns or h > MOST_FRAMES * rows:
        raise BoxError(f"{shown} is many times larger than the {columns}x{rows} frame")
    if x >= columns or y >= rows or x + w <= 0 or y + h <= 0:
        raise BoxError(f"{shown} lies outside the {columns}x{rows} frame")
    return Box(x, y, w, h)


class TrackState(enum.StrEnum):
    """What a tracker says about its target."""

    SEARCHING = "searching"
    TRACKING = "tracking"
    UNCERTAIN = "uncertain"
    LOST = "lost"
    REACQUIRED = "reacquired"


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One frame's outcome.

    Attributes:
        box: the target, in pixels of the frame.
        score: confidence, 0 to 1.
        psr: peak-to-sidelobe ratio of the response.
        state: see `TrackState`; nothing is learned while uncertain or lost.
        latency_ms: wall time of `update`, in milliseconds.
    """

    box: Box
    score: float
    psr: float
    state: TrackState
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Detection:
    """What a filter answers when it is asked about a place.

    Attributes:
        centre: where in the window the response is highest: (row, column), pixels.
        confidence: that the target is there, 0 to 1.
    """

    centre: Place
    confidence: float


class Tracker(Protocol):
    """A single-object tracker."""

    def init(self, image: Frame, box: Box) -> None:
        """Start, or start again, on `box` in `image`. Raises `BoxError` on an unusable box."""

    def update(self, image: Frame) -> TrackResult:
        """Find the target in the next frame. Raises `SourceError` if the frame size changed."""

    def close(self) -> None:
        """Stop what works in the background; `init` starts it again."""
