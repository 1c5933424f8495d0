"""Windows, labels, peaks and peak statistics of correlation filters.

A response map has shape (rows, columns) and is circular: the cell (0, 0) stands for no displacement.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import scipy.fft

from edge_runtime.types import ComplexArray, FloatArray


def rfft2(x: FloatArray) -> ComplexArray:
    """Half spectrum over the last two axes, complex64."""
    return cast(ComplexArray, scipy.fft.rfft2(x, axes=(-2, -1)))


def irfft2(spectrum: ComplexArray, rows: int, columns: int) -> FloatArray:
    """Inverse of `rfft2` for maps of (rows, columns), float32."""
    return cast(FloatArray, scipy.fft.irfft2(spectrum, s=(rows, columns), axes=(-2, -1)))


def signed(index: float, size: int) -> float:
    """A circular index as a displacement in [-size / 2, size / 2)."""
    return (index + size / 2) % size - size / 2


def peak(response: FloatArray) -> tuple[float, float]:
    """Displacement (rows, columns) in cells of the highest point of a circular map.

    A parabola through the maximum and its two neighbours along each axis gives the fraction.
    """
    rows, columns = response.shape
    row, column = divmod(int(response.argmax()), columns)
    top = float(response[row, column])
    along_rows = vertex(response[row - 1, column], top, response[(row + 1) % rows, column])
    along_columns = vertex(response[row, column - 1], top, response[row, (column + 1) % columns])
    return signed(row + along_rows, rows), signed(column + along_columns, columns)


def vertex(before: float, centre: float, after: float) -> float:
    """Where the parabola through three equidistant values has its maximum, in [-0.5, 0.5]."""
    curvature = float(before) - 2 * float(centre) + float(after)
    if curvature >= 0:  # flat: nothing to interpolate
        return 0.0
    return float(np.clip(0.5 * (float(before) - float(after)) / curvature, -0.5, 0.5))


def peak_to_sidelobe_ratio(response: FloatArray, exclude_cells: int) -> float:
    """(peak - mean) / deviation of the map without a square around the peak (Bolme 2010, MOSSE).

    Args:
        exclude_cells: half side of the excluded square; 5 in MOSSE's 11x11 window.
    """
    rows, columns = response.shape
    row, column = divmod(int(response.argmax()), columns)
    centred = np.roll(response, (rows // 2 - row, columns // 2 - column), (0, 1))
    keep = np.ones(response.shape, bool)
    r, c = min(exclude_cells, rows // 2 - 1), min(exclude_cells, columns // 2 - 1)
    keep[rows // 2 - r : rows // 2 + r + 1, columns // 2 - c : columns // 2 + c + 1] = False
    side = centred[keep]
    deviation = float(side.std())
    return float((response[row, column] - side.mean()) / deviation) if deviation > 0 else 0.0
