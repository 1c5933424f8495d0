"""Patches of a frame as the authors' programs cut them, and the size of the sample that a target gets.

Positions are (row, column) of pixel centres, 0-based. What leaves the frame repeats its border.
"""

from __future__ import annotations

import math

import numpy as np

from edge_runtime.core import kernels
from edge_runtime.types import Frame

# As in OpenCV: interpolation, and averages of what each pixel covers.
INTER_LINEAR, INTER_AREA = 1, 3


def round_half_up(x: float) -> int:
    """MATLAB's `round` for what occurs here: halves go up. (Python's goes to the even neighbour.)"""
    return math.floor(x + 0.5)


def decimated_patch(
    frame: Frame, centre: tuple[int, int], side_px: float, output_px: int, *, out: Frame | None = None
) -> Frame:
    """ECO's translation sample: (output_px, output_px, channels) uint8.

    A sample much larger than the output takes every k-th pixel first, k = floor(side / output - 0.1).

    Args:
        frame: (rows, columns, 3 or 1) uint8, any strides.
        centre: whole pixel; pixel (side + 1) // 2 - 1 of the patch before it is resized.
        side_px: side of the square in frame pixels, rounded after decimation.
        out: where to write the patch, contiguous.

    Raises:
        ValueError: the side is not finite or above 2^24 px, or `out` has another shape.
    """
    if not math.isfinite(side_px):
        raise ValueError(f"a sample cannot have a side of {side_px} px")
    row, column = centre
    step = max(math.floor(side_px / output_px - 0.1), 1)
    if step > 1:
        frame = frame[min(row % step, len(frame) - 1) :: step, min(column % step, frame.shape[1] - 1) :: step]
        row, column = row // step, column // step
    side = max(round_half_up(side_px / step), 2)
    offset = (side + 1) // 2 - 1
    return _cut(frame, (row - offset, column - offset, side, side), (output_px, output_px), INTER_LINEAR, out)


def patch_of_size(
    frame: Frame,
    centre: tuple[int, int],
    rows: int,
    columns: int,
    output: tuple[int, int],
    *,
    out: Frame | None = None,
) -> Frame:
    """STRCF's samples and the scale filter's: (*output, channels) uint8.

    Averages when shrinking, interpolates when growing. Which of the two is decided by the new columns
    against the old rows, as in the authors' program.

    Args:
        frame: (rows, columns, 3 or 1) uint8, any strides.
        centre: whole pixel; pixel (rows // 2 - 1, columns // 2 - 1) of the patch before it is resized.
        out: where to write the patch, contiguous.

    Raises:
        ValueError: a side is below 1 or above 2^24 px, or `out` has another shape.
    """
    rectangle = centre[0] - rows // 2 + 1, centre[1] - columns // 2 + 1, rows, columns
    return _cut(frame, rectangle, output, INTER_LINEAR if output[1] > rows else INTER_AREA, out)


def _cut(
    frame: Frame,
    rectangle: tuple[int, int, int, int],
    output: tuple[int, int],
    method: int,
    out: Frame | None = None,
) -> Frame:
    """The rectangle (top, left, rows, columns) of a frame, resized to `output`."""
    if out is None:
        out = np.empty((*output, frame.shape[2]), np.uint8)
    elif out.shape[:2] != output:
        raise ValueError(f"a patch of {output} px does not fit into {out.shape}")
    kernels.cut(frame, *rectangle, method == INTER_LINEAR, out)
    return out


def is_grey(frame: Frame) -> bool:
    """Whether the three channels of the first frame are equal, which makes the sequence grey."""
    return bool((frame[..., 0] == frame[..., 1]).all() and (frame[..., 1] == frame[..., 2]).all())
