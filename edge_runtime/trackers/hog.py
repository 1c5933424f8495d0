"""Histograms of oriented gradients, 31 channels (Felzenszwalb 2010, TPAMI, section 6; Dollar's `fhog`)."""

from __future__ import annotations

import numpy as np

from edge_runtime.core import kernels
from edge_runtime.types import FloatArray, Frame

CHANNELS = 31


def hog(
    patches: Frame, cell_px: int = 4, *, out: FloatArray | None = None, first_channel: int = 0
) -> FloatArray:
    """The feature map of every patch: (n, rows // cell_px, columns // cell_px, 31) float32.

    Channels: 18 signed orientations, 9 unsigned ones, and the texture in each of four blocks of 2x2 cells
    (the one whose first cell it is, one row up, one column left, both).

    Args:
        patches: (n, rows, columns, 3) BGR or (n, rows, columns, 1), uint8, any strides.
        cell_px: side of a cell in pixels.
        out: maps of as many or more channels to write into, contiguous.
        first_channel: the first of the 31 in `out`.

    Returns:
        `out`, or a new array.

    Raises:
        ValueError: `out` has another shape, or too few channels from the first one on.
    """
    if out is None:
        count, rows, columns, _ = patches.shape
        out = np.empty((count, rows // cell_px, columns // cell_px, CHANNELS), np.float32)
    kernels.hog(patches, cell_px, out, first_channel)
    return out
