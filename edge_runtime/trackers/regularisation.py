"""Spatial regularisation: what keeps a filter's energy on the target."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import FloatArray


def quadratic_window(
    support_px: int, target_px: tuple[float, float], least: float, edge: float
) -> NDArray[np.float64]:
    """w(r, c) = (edge - least) ((r / (h/2))^2 + (c / (w/2))^2) + least, (support, support) float64.

    Args:
        target_px: (h, w) of the target within the sample.
        least: value at the centre.
        edge: value at the middle of the target's edges.
    """
    grid = np.arange(support_px) - (support_px - 1) / 2
    down, across = (np.abs(grid / (size / 2)) ** 2 for size in target_px)
    return np.asarray((edge - least) * (down[:, None] + across[None, :]) + least)


def sparse_window_spectrum(window: NDArray[np.float64], least: float, threshold: float) -> FloatArray:
    """The few Fourier coefficients that make up a window: a small odd real kernel, float32.

    Coefficients below `threshold` times the largest are left out; then the mean is moved so that the
    smallest value of what is left is `least` again.
    """
    spectrum = np.fft.fft2(window) / window.size
    spectrum[np.abs(spectrum) < threshold * np.abs(spectrum).max()] = 0
    lowest = np.fft.ifft2(spectrum).real.min() * window.size
    spectrum[0, 0] += least - lowest
    spectrum = np.fft.fftshift(spectrum)
    kept = spectrum != 0
    kernel = spectrum[kept.any(1)][:, kept.any(0)].real
    return np.asarray(kernel, np.float32)


def convolved_with_itself(kernel: FloatArray) -> FloatArray:
    """What convolving a series twice with a symmetric kernel (see `sparse_window_spectrum`) does at once.

    The result is (2 rows - 1, 2 columns - 1); at the ends of the stored frequencies it does exactly what
    convolving fully and then taking the valid part does.
    """
    rows, columns = kernel.shape
    # A symmetric kernel's convolution with itself is its correlation with itself.
    padded = np.pad(kernel, ((rows - 1, rows - 1), (columns - 1, columns - 1)))
    whole = cv2.filter2D(padded, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    trim_rows, trim_columns = (rows - 1) // 2, (columns - 1) // 2
    return np.ascontiguousarray(whole[trim_rows : -trim_rows or None, trim_columns : -trim_columns or None])


def target_window(
    shape: tuple[int, int], target_cells: tuple[int, int], inside: float, outside: float
) -> FloatArray:
    """STRCF's weight: `inside` on a rectangle of the target's size in the centre, `outside` elsewhere.

    Returns:
        (rows, columns) float32.
    """
    window = np.full(shape, outside, np.float32)
    starts = [(n + 1) // 2 + (n + 1) % 2 - 1 - size // 2 for n, size in zip(shape, target_cells, strict=True)]
    rows, columns = (
        slice(max(start, 0), start + size) for start, size in zip(starts, target_cells, strict=True)
    )
    window[rows, columns] = inside
    return window
