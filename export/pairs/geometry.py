"""Square crops around a target, as trackers cut their samples, with the target where it is wanted.

Pixel i of a crop of P px with side s around c shows the place c + (i - (P - 1) / 2) s / P of the frame:
the crop's centre is between its two middle pixels when P is even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.trackers.patches import sample_patch
from edge_runtime.types import Box, Frame
from export.pairs.frames import ReducedFrame


@dataclass(frozen=True)
class Turn:
    """How the picture is turned about the target's centre, and by what its width grows against its height."""

    degrees: float = 0.0
    stretch: float = 1.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """From (column, row) off the target in the turned crop to those in the straight one, (2, 2)."""
        sine, cosine = math.sin(math.radians(self.degrees)), math.cos(math.radians(self.degrees))
        root = math.sqrt(self.stretch)
        return np.array([[cosine / root, sine / root], [-sine * root, cosine * root]])


def target_side(box: Box) -> float:
    """The size that trackers scale everything by: the side of the square of the same area."""
    return math.sqrt(box.w * box.h)


def cut(
    frame: ReducedFrame,
    centre: tuple[float, float],
    side_px: float,
    crop_px: int,
    *,
    shift_px: tuple[float, float] = (0.0, 0.0),
    turn: Turn | None = None,
) -> Frame:
    """A crop that shows `centre` at its own centre + `shift_px`, uint8 BGR (crop_px, crop_px, 3).

    What leaves the frame repeats its border. Areas are averaged when shrinking to half or less, the rest
    is interpolated linearly (`sample_patch`, what the device samples with).

    Args:
        frame: the frame that holds the target.
        centre: (row, column) in the full frame, to a fraction of a pixel.
        side_px: side of the crop in pixels of the full frame.
        shift_px: (rows, columns) in pixels of the crop.
        turn: about `centre`, which stays where it is.
    """
    px = side_px / crop_px
    middle = centre[0] - shift_px[0] * px, centre[1] - shift_px[1] * px
    if turn is None:
        return sample_patch(frame.image, frame.place(middle), side_px / frame.reduction, crop_px)
    # From (column, row) of the turned crop to those of the straight one, both from their centres.
    matrix = turn.matrix
    target = np.array(shift_px[::-1])
    offset = target - matrix @ target
    corners = matrix @ (crop_px / 2 * np.array([[-1, 1, -1, 1], [-1, -1, 1, 1]])) + offset[:, None]
    wide_px = 2 * math.ceil(np.abs(corners).max()) + 1
    wide = sample_patch(frame.image, frame.place(middle), wide_px * px / frame.reduction, wide_px)
    offset += (wide_px - 1) / 2 - matrix @ np.full(2, (crop_px - 1) / 2)
    affine = np.column_stack([matrix, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cast(Frame, cv2.warpAffine(wide, affine, (crop_px, crop_px), flags=flags))
