"""CF-VGG's layers in NumPy, forwards and backwards. Maps are float32 (n, rows, columns, channels)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edge_runtime.types import FloatArray

POOL_PX = 3
WINDOW_BYTES = 4_000_000  # at a time: windows of all pictures are half a gigabyte


@dataclass(frozen=True)
class Convolution:
    """A convolution and its ReLU.

    Attributes:
        weight: (out, kernel, kernel, in), as in a TFLite file.
        bias: (out,).
        stride, pad: both ways, the same on all sides.
    """

    weight: FloatArray
    bias: FloatArray
    stride: int = 1
    pad: int = 1

    def forward(self, x: FloatArray) -> FloatArray:
        """The outputs."""
        padded = _padded(x, self.pad)
        columns = self.weight.reshape(len(self.weight), -1).T
        found = np.empty((len(x), *self._cells(padded.shape), len(self.weight)), np.float32)
        for some in self._parts(padded):
            windows = self._windows(padded[some])
            y = (windows.reshape(-1, len(columns)) @ columns).reshape(found[some].shape)
            np.maximum(y + self.bias, 0, out=found[some])
        return found

    def gradients(self, x: FloatArray, gradient: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of weight and bias.

        Args:
            x: the input.
            gradient: of the sums before the ReLU, see `before_relu`.
        """
        padded, out = _padded(x, self.pad), len(self.weight)
        found = np.zeros((out, self.weight[0].size), np.float32)
        for some in self._parts(padded):
            windows = self._windows(padded[some])
            found += gradient[some].reshape(-1, out).T @ windows.reshape(-1, found.shape[1])
        return found.reshape(self.weight.shape), gradient.sum((0, 1, 2))

    def backward(self, gradient: FloatArray, shape: tuple[int, ...]) -> FloatArray:
        """Gradient of the input, which has that shape; `gradient` as for `gradients`."""
        n, rows, columns, channels = shape
        kernel, pad, stride = self.weight.shape[1], self.pad, self.stride
        _, out_rows, out_columns, out = gradient.shape
        padded = np.zeros((n, rows + 2 * pad, columns + 2 * pad, channels), np.float32)
        for some in self._parts(padded):
            flat = gradient[some].reshape(-1, out) @ self.weight.reshape(out, -1)
            of_windows = flat.reshape(-1, out_rows, out_columns, kernel, kernel, channels)
            for row in range(kernel):
                down = slice(row, row + stride * (out_rows - 1) + 1, stride)
                for column in range(kernel):
                    across = slice(column, column + stride * (out_columns - 1) + 1, stride)
                    padded[some, down, across] += of_windows[:, :, :, row, column]
        return padded[:, pad : pad + rows, pad : pad + columns]

    def _cells(self, padded_shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of the output."""
        rows, columns = ((size - self.weight.shape[1]) // self.stride + 1 for size in padded_shape[1:3])
        return rows, columns

    def _parts(self, padded: FloatArray) -> list[slice]:
        """The pictures, as many at a time as have windows of `WINDOW_BYTES`, or one."""
        one = math.prod(self._cells(padded.shape)) * self.weight[0].size * padded.itemsize
        step = max(1, WINDOW_BYTES // one)
        return [slice(start, start + step) for start in range(0, len(padded), step)]

    def _windows(self, padded: FloatArray) -> FloatArray:
        """(n, rows, columns, kernel, kernel, channels), copied so that they are one matrix."""
        kernel, stride = self.weight.shape[1], self.stride
        # numpy's types know one window axis only
        view = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]  # type: ignore[call-overload]
        return np.ascontiguousarray(view.transpose(0, 1, 2, 4, 5, 3))


@dataclass(frozen=True)
class Normalisation:
    """Across channels: x / (shift + band of x squared)^(3/4), as in the exporter's `CrossChannelNorm`.

    Attributes:
        band: (out, in), what each channel's square counts in the sum of another.
        shift: (out,).
    """

    band: FloatArray
    shift: FloatArray

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The outputs, and the sums that they were divided by a power of, which `backward` wants."""
        sums: FloatArray = np.square(x) @ self.band.T
        sums += self.shift
        return x * _power(sums), sums

    def backward(self, x: FloatArray, sums: FloatArray, gradient: FloatArray) -> FloatArray:
        """Gradient of `x`."""
        powers = _power(sums)
        of_sums = -1.5 * gradient * x * powers / sums
        found: FloatArray = gradient * powers + x * np.matmul(of_sums, self.band)
        return found


def _power(sums: FloatArray) -> FloatArray:
    """To the -3/4, by roots: a fifth of the time of a power."""
    root = 1 / np.sqrt(sums)
    found: FloatArray = root * np.sqrt(root)
    return found


def before_relu(y: FloatArray, gradient: FloatArray) -> FloatArray:
    """Gradient of what went into a ReLU whose output is `y`."""
    return gradient * (y > 0)


def pool(x: FloatArray) -> FloatArray:
    """Maxima of 3 x 3 at stride 2, one row and column of zeros below and right (MatConvNet's VGG-M)."""
    (_, first), *others = _pool_parts(_pool_padded(x))
    maxima = first.copy()
    for _, part in others:
        np.maximum(maxima, part, out=maxima)
    return maxima


def pool_backward(x: FloatArray, y: FloatArray, gradient: FloatArray) -> FloatArray:
    """Gradient of `x`, of whose maxima `y` it is the first in reading order that gets it, as in torch."""
    padded = _pool_padded(x)
    found = np.zeros_like(padded)
    left = gradient.copy()
    for (down, across), part in _pool_parts(padded):
        here = np.where(part == y, left, 0)
        found[:, down, across] += here
        left -= here
    return found[:, : x.shape[1], : x.shape[2]]


def _pool_padded(x: FloatArray) -> FloatArray:
    return np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))


def _pool_parts(padded: FloatArray) -> list[tuple[tuple[slice, slice], FloatArray]]:
    """For each of the nine places in a window, where it lies, and its values for all windows."""
    rows, columns = ((size - POOL_PX) // 2 for size in padded.shape[1:3])  # the last window's number
    found = []
    for row in range(POOL_PX):
        for column in range(POOL_PX):
            where = slice(row, row + 2 * rows + 1, 2), slice(column, column + 2 * columns + 1, 2)
            found.append((where, padded[:, where[0], where[1]]))
    return found


def _padded(x: FloatArray, pad: int) -> FloatArray:
    return np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else x
