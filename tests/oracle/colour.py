"""Intensity and Color Names (van de Weijer 2009, TIP), averaged over cells.

The table of the Color Names is not part of cfvgg; who has it gives its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, WeightsError
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


def load_colour_names(path: Path) -> FloatArray:
    """Read a table of Color Names, (32768, k) float32, from a .npy or .mat file.

    Of a .mat file the only numeric matrix with 32768 rows is taken; 14 columns are those of the authors'
    w2c.mat, red, green and blue before the 11 names.

    Raises:
        WeightsError: the file is missing, unreadable, or holds no such table.
    """
    readers = {".npy": _read_npy, ".mat": _read_mat}
    if path.suffix not in readers:
        raise WeightsError("has an unknown suffix", where=path, fix=f"give a {' or '.join(readers)} file")
    try:
        table = readers[path.suffix](path)
    except FileNotFoundError as error:
        raise WeightsError("does not exist", where=path, fix=EXPECTED) from error
    except NotImplementedError as error:  # what scipy raises for MATLAB 7.3 (HDF5) files
        raise WeightsError("is a MATLAB 7.3 file", where=path, fix="save it with -v7") from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged file raises a dozen types, zlib's and scipy's own among them
        raise WeightsError(
            f"cannot be read as a {path.suffix} file ({error})", where=path, fix="it may be truncated"
        ) from error
    if not _is_table(table):
        raise WeightsError(f"is {table.dtype} {table.shape}, not a table", where=path, fix=EXPECTED)
    if table.shape[1] == 3 + NAMES:
        table = table[:, 3:]
    table = np.ascontiguousarray(table, np.float32)
    if not np.isfinite(table).all():
        raise WeightsError("has values that are not finite", where=path, fix=EXPECTED)
    return table


def _is_table(array: Any) -> bool:
    numeric = isinstance(array, np.ndarray) and array.dtype.kind in "fiu"
    return numeric and array.ndim == 2 and array.shape[0] == TABLE_ROWS and array.shape[1] > 0


def _read_npy(path: Path) -> NDArray[Any]:
    return np.asarray(np.load(path, allow_pickle=False))


def _read_mat(path: Path) -> NDArray[Any]:
    import scipy.io  # noqa: PLC0415 (slow to import, and only for this)

    found = [array for array in scipy.io.loadmat(str(path), appendmat=False).values() if _is_table(array)]
    if len(found) != 1:
        raise WeightsError(
            f"holds {len(found)} numeric matrices of {TABLE_ROWS} rows, not one", where=path, fix=EXPECTED
        )
    return cast(NDArray[Any], found[0])
