"""Patches of a frame as the authors' programs cut them, and the size of the sample that a target gets.

Positions are (row, column) of pixel centres, 0-based. What leaves the frame repeats its border.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge_runtime.trackers.sampling import round_half_up
from edge_runtime.types import Frame


def crop(frame: Frame, top: int, left: int, rows: int, columns: int) -> Frame:
    """The rectangle (rows, columns, …) of `frame`, its border repeated outside; a view where possible."""
    height, width = frame.shape[:2]
    # The part inside, at least the nearest row and column; then how much is missing around it.
    y0, y1 = min(max(top, 0), height - 1), max(min(top + rows, height), 1)
    x0, x1 = min(max(left, 0), width - 1), max(min(left + columns, width), 1)
    inside = frame[y0:y1, x0:x1]
    if inside.shape[:2] == (rows, columns):
        return inside
    above, before = min(max(y0 - top, 0), rows - 1), min(max(x0 - left, 0), columns - 1)
    below, after = rows - above - inside.shape[0], columns - before - inside.shape[1]
    around = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_REPLICATE)
    return around.reshape(rows, columns, frame.shape[2])  # type: ignore[return-value]  # stubs lose the dtype


def decimated_patch(frame: Frame, centre: tuple[int, int], side_px: float, output_px: int) -> Frame:
    """ECO's translation sample: (output_px, output_px, channels) uint8.

    A sample much larger than the output takes every k-th pixel first, k = floor(side / output - 0.1).

    Args:
        centre: whole pixel; pixel (side + 1) // 2 - 1 of the patch before it is resized.
        side_px: side of the square in frame pixels, rounded after decimation.
    """
    row, column = centre
    step = max(math.floor(side_px / output_px - 0.1), 1)
    if step > 1:
        frame = frame[row % step :: step, column % step :: step]
        row, column = row // step, column // step
    side = max(round_half_up(side_px / step), 2)
    offset = (side + 1) // 2 - 1
    patch = crop(frame, row - offset, column - offset, side, side)
    return resized(patch, output_px, output_px, cv2.INTER_LINEAR)


def patch_of_size(
    frame: Frame, centre: tuple[int, int], rows: int, columns: int, output: tuple[int, int]
) -> Frame:
    """STRCF's samples and the scale filter's: (*output, channels) uint8.

    Averages when shrinking, interpolates when growing. Which of the two is decided by the new columns
    against the old rows, as in the authors' program.

    Args:
        centre: whole pixel; pixel (rows // 2 - 1, columns // 2 - 1) of the patch before it is resized.
    """
    patch = crop(frame, centre[0] - rows // 2 + 1, centre[1] - columns // 2 + 1, rows, columns)
    method = cv2.INTER_LINEAR if output[1] > rows else cv2.INTER_AREA
    return resized(patch, output[0], output[1], method)


def resized(patch: Frame, rows: int, columns: int, method: int) -> Frame:
    """OpenCV's resize that keeps the channel axis and does nothing when nothing is to do."""
    if patch.shape[:2] == (rows, columns):
        return patch
    out = cv2.resize(np.ascontiguousarray(patch), (columns, rows), interpolation=method)
    return out.reshape(rows, columns, patch.shape[2])  # type: ignore[return-value]  # stubs lose the dtype
