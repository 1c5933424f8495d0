"""Small sequences on disk, and trackers that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge_runtime.types import Box, Frame, Tracker, TrackResult, TrackState

if TYPE_CHECKING:
    from benchmarks.variants import Variant

Boxes = Sequence[Sequence[float]]
STILL: Boxes = [(4, 5, 10, 8)] * 4
MOVING: Boxes = [(4, 5, 10, 8), (5, 5, 10, 8), (6, 5, 10, 8), (7, 5, 10, 8)]


def write_pictures(folder: Path, count: int, first: int = 1, digits: int = 4) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = cv2.imencode(".jpg", np.full((30, 40, 3), 90, np.uint8))[1].tobytes()
    for number in range(first, first + count):
        (folder / f"{number:0{digits}d}.jpg").write_bytes(data)


def write_boxes(path: Path, boxes: Boxes, offset: float = 0, separator: str = ",") -> None:
    """One box a line, `offset` added to x and y."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (separator.join(f"{v:g}" for v in (x + offset, y + offset, w, h)) for x, y, w, h in boxes)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_otb(folder: Path, boxes: Boxes, first: int = 1, pictures: int | None = None) -> None:
    write_pictures(folder / "img", len(boxes) if pictures is None else pictures, first)
    write_boxes(folder / "groundtruth_rect.txt", boxes, offset=1)


def write_got10k(folder: Path, boxes: Boxes, pictures: int | None = None) -> None:
    write_pictures(folder, len(boxes) if pictures is None else pictures, digits=8)
    write_boxes(folder / "groundtruth.txt", boxes)


class StillTracker:
    """Says that the target stays where it was; refuses targets less than 3 px wide."""

    def __init__(self) -> None:
        self.box = Box(0, 0, 0, 0)

    def init(self, image: Frame, box: Box) -> None:
        if box.w < 3:
            raise ZeroDivisionError("too narrow")
        self.box = box

    def update(self, image: Frame) -> TrackResult:
        return TrackResult(self.box, 1.0, 10.0, TrackState.TRACKING, 0.1)


class CountingBuilder:
    """Builds still trackers and counts them."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self, variant: Variant) -> Tracker:
        self.built += 1
        return StillTracker()


def build_still(variant: Variant) -> Tracker:
    """Picklable, for workers."""
    return StillTracker()
