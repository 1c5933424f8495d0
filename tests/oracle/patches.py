"""Square patches of a frame, at several scales, resized to the network's input."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.types import Frame
from tests.oracle.sampling import resized


def sample_patch(frame: Frame, centre: tuple[float, float], side_px: float, output_px: int) -> Frame:
    """The square of `side_px` frame pixels around `centre`, as (output_px, output_px, channels) uint8.

    The centre is exact to a fraction of a pixel; outside the frame the border is repeated. Shrinking
    averages (INTER_AREA-like through a first integer decimation), growing interpolates linearly.

    Args:
        frame: (rows, columns, 3 or 1) uint8.
        centre: (row, column).
    """
    ratio = side_px / output_px
    decimation = int(ratio)
    if decimation >= 2:
        return _shrunk_patch(frame, centre, side_px, output_px, decimation)
    # Pixel i of the output lies at centre + (i - (output_px - 1) / 2) * ratio of the frame.
    half = (output_px - 1) / 2 * ratio
    return warp(frame, centre[0] - half, centre[1] - half, ratio, output_px)


def warp(frame: Frame, row: float, column: float, ratio: float, output_px: int) -> Frame:
    """Bilinear samples at (row + i ratio, column + j ratio): (output_px, output_px, channels) in its dtype.

    Places are rounded to 1/32 px, weights are whole: the arithmetic of `cv2.warpAffine` in OpenCV 4. (5 has
    another one, and a track should not depend on which is installed.)

    Args:
        frame: (rows, columns, channels) uint8, rounded as OpenCV does, or float32.
    """
    whole = np.issubdtype(frame.dtype, np.integer)
    steps = np.arange(output_px)
    down = np.rint((ratio * steps + row) * 1024).astype(np.int64)
    across = np.rint(column * 1024).astype(np.int64) + np.rint(ratio * steps * 1024).astype(np.int64)
    (y, v), (x, u) = ((fine >> 5, fine & 31) for fine in ((down + 16) >> 5, (across + 16) >> 5))
    above, below = (
        frame[np.clip(y + k, 0, frame.shape[0] - 1)].astype(np.int64 if whole else np.float64) for k in (0, 1)
    )
    left, right = (np.clip(x + k, 0, frame.shape[1] - 1) for k in (0, 1))
    u, v = u[None, :, None], v[:, None, None]
    upper = (32 - u) * above[:, left] + u * above[:, right]
    lower = (32 - u) * below[:, left] + u * below[:, right]
    total = (32 - v) * upper + v * lower
    return (np.right_shift(total + 512, 10) if whole else total / 1024).astype(frame.dtype)


def _shrunk_patch(
    frame: Frame, centre: tuple[float, float], side_px: float, output_px: int, decimation: int
) -> Frame:
    # Averaging blocks of `decimation` pixels first keeps linear interpolation from aliasing. Only
    # the part of the frame that the patch sees is averaged.
    rows, columns = frame.shape[:2]
    reach = side_px / 2 + 2 * decimation
    top = min(max(0, int(centre[0] - reach)), rows - 1)
    left = min(max(0, int(centre[1] - reach)), columns - 1)
    part = frame[top : max(top + 1, int(centre[0] + reach)), left : max(left + 1, int(centre[1] + reach))]
    height, width = max(1, part.shape[0] // decimation), max(1, part.shape[1] // decimation)
    part = part[: height * decimation, : width * decimation]
    small = resized(part, height, width, cv2.INTER_AREA)
    step_rows, step_columns = part.shape[0] / height, part.shape[1] / width
    row = (centre[0] - top + 0.5) / step_rows - 0.5
    column = (centre[1] - left + 0.5) / step_columns - 0.5
    return sample_patch(small, (row, column), side_px / step_rows, output_px)


def sample_scales(frame: Frame, centre: tuple[float, float], sides_px: list[float], output_px: int) -> Frame:
    """One patch per side, stacked as (n, output_px, output_px, channels) uint8."""
    return np.stack([sample_patch(frame, centre, side, output_px) for side in sides_px])
