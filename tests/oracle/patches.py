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
    inverse = np.array([[ratio, 0.0, centre[1] - half], [0.0, ratio, centre[0] - half]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (output_px, output_px)
    patch = cv2.warpAffine(frame, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return patch.reshape(output_px, output_px, frame.shape[2])  # type: ignore[return-value]  # stubs lose the dtype


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
