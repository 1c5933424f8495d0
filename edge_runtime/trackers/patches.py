"""Square patches of a frame, at several scales, resized to the network's input."""

from __future__ import annotations

import numpy as np

from edge_runtime.core import kernels
from edge_runtime.types import Frame


def sample_patch(
    frame: Frame, centre: tuple[float, float], side_px: float, output_px: int, *, out: Frame | None = None
) -> Frame:
    """The square of `side_px` frame pixels around `centre`, as (output_px, output_px, channels) uint8.

    The centre is exact to a fraction of a pixel; outside the frame the border is repeated. Shrinking to
    half or less averages blocks of pixels first, the rest is interpolated linearly.

    Args:
        frame: (rows, columns, 3 or 1) uint8, any strides.
        centre: (row, column).
        out: where to write the patch, contiguous.

    Raises:
        ValueError: the centre is not finite, the side not above 0 and up to 2^24 px, or `out` has another
            shape.
    """
    if out is None:
        out = np.empty((output_px, output_px, frame.shape[2]), np.uint8)
    elif out.shape[:2] != (output_px, output_px):
        raise ValueError(f"a patch of {output_px} px does not fit into {out.shape}")
    kernels.cut_affine(frame, *centre, side_px, out)
    return out
