"""Where a continuous response is highest: grid maximum, then Newton's method on its Fourier series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import ComplexArray, FloatArray


@dataclass(frozen=True)
class Peak:
    """The best of several scales.

    Attributes:
        displacement: (rows, columns) in cells of the grid, within half of it.
        scale: index of the scale.
        height: value of the response there.
    """

    displacement: tuple[float, float]
    scale: int
    height: float


class SeriesEvaluator:
    """f(p) = Re sum_k x(k) e^(i k p), its gradient and Hessian, for series of several scales at once.

    Args:
        series: (scales, rows, columns) complex64, columns weighted for the whole spectrum.
        ky, kx: frequencies of rows and columns.
    """

    def __init__(self, series: ComplexArray, ky: FloatArray, kx: FloatArray) -> None:
        self.series = series
        powers = [np.ones_like(ky), 1j * ky, -(ky**2)]
        self._down = np.stack(powers).astype(np.complex64)  # (3, rows): value, first, second derivative
        powers = [np.ones_like(kx), 1j * kx, -(kx**2)]
        self._across = np.stack(powers).astype(np.complex64)
        self._ky, self._kx = ky, kx

    def __call__(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivatives d^(a+b) f / dy^a dx^b at `position` (scales, 2), radians: (scales, 3, 3) by [a, b]."""
        down = self._down * np.exp(1j * position[:, :1, None] * self._ky).astype(np.complex64)
        across = self._across * np.exp(1j * position[:, 1:, None] * self._kx).astype(np.complex64)
        return np.asarray((down @ self.series @ across.transpose(0, 2, 1)).real, np.float64)


def refine(
    evaluate: SeriesEvaluator, start: NDArray[np.float64], iterations: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Newton's method, p <- p - H^-1 grad f, from `start` (scales, 2) in radians.

    Returns:
        Positions (scales, 2) and heights (scales,). Where the result is no higher than the start (or not
        a number), the start stands.
    """
    position, first = start.copy(), evaluate(start)
    derivatives = first
    for _ in range(iterations):
        dy, dx = derivatives[:, 1, 0], derivatives[:, 0, 1]
        dyy, dxx, dxy = derivatives[:, 2, 0], derivatives[:, 0, 2], derivatives[:, 1, 1]
        determinant = dyy * dxx - dxy**2
        determinant = np.where(np.abs(determinant) < 1e-30, np.inf, determinant)  # flat: stay
        position[:, 0] -= (dxx * dy - dxy * dx) / determinant
        position[:, 1] -= (dyy * dx - dxy * dy) / determinant
        derivatives = evaluate(position)
    heights, heights_before = derivatives[:, 0, 0], first[:, 0, 0]
    worse = ~(heights >= heights_before)
    position[worse], heights[worse] = start[worse], heights_before[worse]
    return position, heights


def find_peak(evaluate: SeriesEvaluator, samples: FloatArray, iterations: int) -> Peak:
    """Maximum over all scales.

    Args:
        samples: the response on its grid, (scales, rows, columns), cell (0, 0) first.
        iterations: of Newton's method, after the grid maximum.
    """
    scales, rows, columns = samples.shape
    row, column = np.divmod(samples.reshape(scales, -1).argmax(1), columns)
    # argmax of a map with a NaN is that NaN's place, which is inside the map like any other.
    signed = [(i + (n - 1) // 2) % n - (n - 1) // 2 for i, n in ((row, rows), (column, columns))]
    start = np.stack([2 * np.pi * signed[0] / rows, 2 * np.pi * signed[1] / columns], 1)
    position, heights = refine(evaluate, start, iterations)
    best = int(heights.argmax())
    turns = (position[best] + np.pi) % (2 * np.pi) - np.pi
    down, across = turns / (2 * np.pi) * (rows, columns)
    return Peak((float(down), float(across)), best, float(heights[best]))
