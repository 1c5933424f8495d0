"""The largest thing that moves, as a first target: OpenCV's background model and connected components."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.targets.settings import MotionConfig
from edge_runtime.types import Box, Frame

WIDTH_PX = 320  # motion is looked for in a smaller picture
MOST_MOVING = 0.5  # of the frame; above, the camera itself moves, or the light has changed
SAME_IOU = 0.3
LEAST_SHIFT = 0.1  # of its size, and this many pixels: what was uncovered stands still where something left
LEAST_SHIFT_PX = 2.0


class MotionStart:
    """Looks at every frame until something has moved in `config.frames` of them in a row."""

    def __init__(self, config: MotionConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Learn the background anew, as after a time in which no frame was looked at."""
        history = max(100, self.config.warm_up_frames)
        self._background = cv2.createBackgroundSubtractorMOG2(history=history, detectShadows=False)
        self._frames, self._seen = 0, 0
        self._from: Box | None = None  # where it was when it was first seen
        self._last: Box | None = None

    def find(self, image: Frame) -> Box | None:
        """The box of what moves, in pixels of `image`; None while there is nothing to be sure of.

        Args:
            image: uint8 (rows, columns, 3), BGR; the next frame, of the same size as the last.
        """
        factor = min(1.0, WIDTH_PX / image.shape[1])
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        moving = self._background.apply(cv2.GaussianBlur(small, (5, 5), 0))
        self._frames += 1
        box = (
            self._largest(np.asarray(moving, np.uint8)) if self._frames > self.config.warm_up_frames else None
        )
        same = box is not None and self._last is not None and iou(box, self._last) >= SAME_IOU
        self._seen = self._seen + 1 if same else int(box is not None)
        self._from = self._from if same else box
        self._last = box
        if box is None or self._seen < self.config.frames or not self._has_moved(box):
            return None
        rows, columns = image.shape[:2]
        return self._grown(Box(*(value / factor for value in box)), rows, columns)

    def _has_moved(self, box: Box) -> bool:
        if self._from is None:
            return False
        shift_px = math.dist(box.centre, self._from.centre)
        return shift_px >= max(LEAST_SHIFT_PX, LEAST_SHIFT * min(box.w, box.h))

    def _largest(self, moving: NDArray[np.uint8]) -> Box | None:
        kernel = np.ones((3, 3), np.uint8)
        whole = cv2.dilate(cv2.morphologyEx(moving, cv2.MORPH_OPEN, kernel), kernel, iterations=3)
        if np.count_nonzero(whole) > MOST_MOVING * whole.size:
            return None
        _, _, stats, _ = cv2.connectedComponentsWithStats(whole)
        least, most = (
            share * whole.size for share in (self.config.least_area_share, self.config.most_area_share)
        )
        boxes = [stat for stat in stats[1:] if least <= stat[2] * stat[3] <= most]
        if not boxes:
            return None
        x, y, w, h = (int(v) for v in max(boxes, key=lambda stat: stat[cv2.CC_STAT_AREA])[:4])
        # What was dilated is given back.
        return Box(x + 3.0, y + 3.0, max(w - 6.0, 1.0), max(h - 6.0, 1.0))

    def _grown(self, box: Box, rows: int, columns: int) -> Box:
        grow_x, grow_y = self.config.margin * box.w, self.config.margin * box.h
        left, top = max(box.x - grow_x, 0.0), max(box.y - grow_y, 0.0)
        right = min(box.x + box.w + grow_x, float(columns))
        bottom = min(box.y + box.h + grow_y, float(rows))
        return Box(left, top, right - left, bottom - top)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.w * a.h + b.w * b.h - width * height)
