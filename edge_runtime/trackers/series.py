"""Grids of Fourier series: half of the spectrum of odd maps is stored.

A map is a trigonometric polynomial with frequencies -K..K along each axis, K = (size - 1) / 2. Stored
are rows ky = -K..K and columns kx = 0..K; the rest follows from conjugate symmetry, x(-ky, -kx) =
conj(x(ky, kx)).
"""

from __future__ import annotations

import numpy as np

from edge_runtime.types import FloatArray


def odd(size: int) -> int:
    """The odd grid that holds the series of a map of `size` cells."""
    return size + 1 - size % 2


def half_columns(size: int) -> int:
    """Columns that are stored of an odd grid."""
    return (size + 1) // 2


def frequencies(size: int) -> tuple[FloatArray, FloatArray]:
    """(rows -K..K, columns 0..K) of an odd grid, float32."""
    half = size // 2
    return np.arange(-half, half + 1, dtype=np.float32), np.arange(half + 1, dtype=np.float32)
