"""Spatial regularisation of a filter's series, in NumPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.types import ComplexArray, FloatArray


class SpectralConvolution:
    """W^H W f for a filter's series f, W being the convolution with the window's coefficients.

    Both convolutions in one: the kernel is the window's with itself, zero outside the stored
    frequencies, exactly what convolving fully and then taking the valid part gives.

    Args:
        kernel: see `sparse_window_spectrum`; symmetric.
    """

    def __init__(self, kernel: FloatArray) -> None:
        rows, columns = kernel.shape
        # A symmetric kernel's convolution with itself is its correlation with itself.
        padded = np.pad(kernel, ((rows - 1, rows - 1), (columns - 1, columns - 1)))
        self.kernel = cv2.filter2D(padded, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
        trim_rows, trim_columns = (rows - 1) // 2, (columns - 1) // 2
        self.kernel = self.kernel[trim_rows : -trim_rows or None, trim_columns : -trim_columns or None]
        self.energy = float((kernel.astype(np.float64) ** 2).sum())

    def __call__(self, series: ComplexArray) -> ComplexArray:
        """Apply to (rows, columns, channels), stored half; same shape."""
        rows, columns, channels = series.shape
        reach = min(self.kernel.shape[1] // 2, columns - 1)
        # The columns left of zero that the kernel reaches, from conjugate symmetry.
        mirrored = np.conj(series[::-1, reach:0:-1])
        whole = np.concatenate([mirrored, series], 1).view(np.float32)
        done = cv2.filter2D(whole, cv2.CV_32F, self.kernel, borderType=cv2.BORDER_CONSTANT)
        out = done.reshape(rows, columns + reach, 2 * channels)[:, reach:]
        return np.ascontiguousarray(out, np.float32).view(np.complex64)
