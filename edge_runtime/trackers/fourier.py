"""Windows and labels of correlation filters.

A response map has shape (rows, columns) and is circular: the cell (0, 0) stands for no displacement.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from edge_runtime.types import FloatArray


def hann_window(rows: int, columns: int) -> FloatArray:
    """Outer product of two Hann windows that do not touch zero inside, (rows, columns) float32."""
    down, across = (np.hanning(n + 2)[1:-1] for n in (rows, columns))
    return np.outer(down, across).astype(np.float32)


def gaussian_label(rows: int, columns: int, sigma_cells: float) -> FloatArray:
    """Circular Gaussian of height 1 centred on cell (0, 0), (rows, columns) float32."""
    down, across = (np.minimum(np.arange(n), n - np.arange(n)) for n in (rows, columns))
    squares = down[:, None] ** 2 + across[None, :] ** 2
    return cast(FloatArray, np.exp(-0.5 * squares / sigma_cells**2).astype(np.float32))
