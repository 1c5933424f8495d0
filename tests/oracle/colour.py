"""Intensity and Color Names (van de Weijer 2009, TIP), averaged over cells.

The table of the Color Names is not part of cfvgg; who has it gives its file.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import scipy.sparse

from edge_runtime.errors import ConfigError
from edge_runtime.types import FloatArray, Frame

LUMA = np.array([[0.114020904255103, 0.587043074451121, 0.298936021293775]], np.float32)  # B, G, R; rgb2gray
TABLE_ROWS = 32**3
NAMES = 11
EXPECTED = f"give a table of {TABLE_ROWS} rows, one for every 8 levels of red, green and blue, red fastest"


def grey(patches: Frame, cell_px: int) -> FloatArray:
    """Mean intensity of every cell, -0.5 to 0.5: (n, rows // cell_px, columns // cell_px, 1) float32.

    Args:
        patches: (n, rows, columns, 3) BGR or (n, rows, columns, 1), uint8.
        cell_px: side of a cell in pixels.
    """
    count, rows, columns, channels = patches.shape
    down, across = rows // cell_px, columns // cell_px
    if count * down * across == 0:
        return np.zeros((count, down, across, 1), np.float32)
    cut = patches[:, : down * cell_px, : across * cell_px].astype(np.float32, order="C")
    # Whole cells of all patches stacked are whole cells again.
    stacked = cut.reshape(count * down * cell_px, across * cell_px, channels)
    luma = cv2.transform(stacked, LUMA) if channels == 3 else stacked
    means = cv2.resize(luma, (across, count * down), interpolation=cv2.INTER_AREA)
    return cast(FloatArray, means).reshape(count, down, across, 1) / np.float32(255) - np.float32(0.5)


def colour_names(patches: Frame, table: FloatArray, cell_px: int) -> FloatArray:
    """Mean of every cell's table entries: (n, rows // cell_px, columns // cell_px, k) float32.

    Args:
        patches: (n, rows, columns, 3) BGR, uint8.
        table: (32768, k) float32; row R // 8 + 32 * (G // 8) + 1024 * (B // 8).
        cell_px: side of a cell in pixels.

    Raises:
        ConfigError: the patches have no colour.
    """
    count, rows, columns, channels = patches.shape
    if channels != 3:
        raise ConfigError(
            f"Color Names need three channels, the patches have {channels}", fix="use grey for grey sequences"
        )
    down, across = rows // cell_px, columns // cell_px
    if count * down * across == 0:
        return np.zeros((count, down, across, table.shape[1]), np.float32)
    cut = patches[:, : down * cell_px, : across * cell_px].reshape(1, -1, channels)
    blue, green, red = (plane.astype(np.int32) >> 3 for plane in cv2.split(cut))
    index = (((blue << 5) + green) << 5) + red
    by_cell = index.reshape(count, down, cell_px, across, cell_px).swapaxes(2, 3).ravel()
    # A row a cell, whose entries count how often it takes a row of the table: no table entry is copied.
    area_px = cell_px**2
    starts = np.arange(0, by_cell.size + 1, area_px, dtype=np.int32)
    shares = np.full(by_cell.size, 1 / area_px, np.float32)
    matrix = scipy.sparse.csr_array((shares, by_cell, starts), shape=(starts.size - 1, TABLE_ROWS))
    return cast(FloatArray, matrix @ table).reshape(count, down, across, table.shape[1])
