"""Intensity and Color Names (van de Weijer 2009, TIP), averaged over cells.

The table of the Color Names is not part of cfvgg; who has it gives its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_runtime.core import kernels
from edge_runtime.errors import ConfigError, WeightsError
from edge_runtime.types import FloatArray, Frame

TABLE_ROWS = 32**3
NAMES = 11
EXPECTED = f"give a table of {TABLE_ROWS} rows, one for every 8 levels of red, green and blue, red fastest"


def grey(
    patches: Frame, cell_px: int, *, out: FloatArray | None = None, first_channel: int = 0
) -> FloatArray:
    """Mean intensity of every cell, -0.5 to 0.5: (n, rows // cell_px, columns // cell_px, 1) float32.

    Args:
        patches: (n, rows, columns, 3) BGR or (n, rows, columns, 1), uint8, any strides. MATLAB's rgb2gray.
        cell_px: side of a cell in pixels.
        out: maps of one or more channels to write into, contiguous.
        first_channel: which one of `out`.

    Returns:
        `out`, or a new array.

    Raises:
        ValueError: `out` has another shape, or no such channel.
    """
    if out is None:
        count, rows, columns, _ = patches.shape
        out = np.empty((count, rows // cell_px, columns // cell_px, 1), np.float32)
    kernels.grey(patches, cell_px, out, first_channel)
    return out


def colour_names(
    patches: Frame,
    table: FloatArray,
    cell_px: int,
    *,
    out: FloatArray | None = None,
    first_channel: int = 0,
) -> FloatArray:
    """Mean of every cell's table entries: (n, rows // cell_px, columns // cell_px, k) float32.

    Args:
        patches: (n, rows, columns, 3) BGR, uint8, any strides.
        table: (32768, k) float32, contiguous; row R // 8 + 32 * (G // 8) + 1024 * (B // 8).
        cell_px: side of a cell in pixels.
        out: maps of k or more channels to write into, contiguous.
        first_channel: the first of the k in `out`.

    Returns:
        `out`, or a new array.

    Raises:
        ConfigError: the patches have no colour.
        ValueError: `out` has another shape, or too few channels from the first one on.
    """
    count, rows, columns, channels = patches.shape
    if channels != 3:
        raise ConfigError(
            f"Color Names need three channels, the patches have {channels}", fix="use grey for grey sequences"
        )
    if out is None:
        out = np.empty((count, rows // cell_px, columns // cell_px, table.shape[1]), np.float32)
    kernels.colour_names(patches, table, cell_px, out, first_channel)
    return out


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
    try:
        import scipy.io  # noqa: PLC0415 (slow to import, and only for this)
    except ImportError as error:
        raise WeightsError(
            "is a MATLAB file, which only scipy reads, and that is not installed",
            where=path,
            fix="pip install scipy, or convert the table to .npy once",
        ) from error
    found = [array for array in scipy.io.loadmat(str(path), appendmat=False).values() if _is_table(array)]
    if len(found) != 1:
        raise WeightsError(
            f"holds {len(found)} numeric matrices of {TABLE_ROWS} rows, not one", where=path, fix=EXPECTED
        )
    return cast(NDArray[Any], found[0])
