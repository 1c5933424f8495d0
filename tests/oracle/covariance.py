"""Weighted second moments of spectral samples: what a filter's least squares needs of them.

ECO's data term A^H Γ A f (Danelljan 2017, CVPR, eq. 9) needs of the samples x_j with weights w_j only
C = sum_j w_j conj(x_j) x_j^T per frequency. Replacing two samples by their mean changes C by one outer
product, so C is kept up to date frame by frame instead of multiplying with all samples in every
iteration of the conjugate gradient: 13 x 13 numbers a frequency instead of 50 x 13, twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.types import ComplexArray
from tests.oracle.series import centre_slices


class SpectralCovariance:
    """C for samples on one or more grids, the largest first, and the mean sample.

    Where a smaller grid's frequencies end, its channels are zero.

    Args:
        shapes: (rows, stored columns, channels) of every grid.

    Attributes:
        mean: per grid, sum of weight * sample.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        self._shapes = list(shapes)
        self.mean: list[ComplexArray] = [np.zeros(shape, np.complex64) for shape in shapes]
        self._blocks: dict[tuple[int, int], ComplexArray] = {}
        for g, h in self._pairs():
            (rows, columns, _), channels = shapes[h], (shapes[g][2], shapes[h][2])
            self._blocks[g, h] = np.zeros((rows, columns, *channels), np.complex64)

    def _pairs(self) -> list[tuple[int, int]]:
        count = len(self._shapes)
        return [(g, h) for g in range(count) for h in range(g, count)]

    def _centre(self, array: ComplexArray, g: int, h: int) -> ComplexArray:
        """A view of grid g's frequencies that grid h has, too."""
        return array if g == h else array[centre_slices(self._shapes[g][0], self._shapes[h][0])]

    def scale(self, factor: float) -> None:
        """Multiply all weights."""
        for array in (*self._blocks.values(), *self.mean):
            np.multiply(array, np.float32(factor), out=array)

    def add(self, sample: Sequence[ComplexArray], weight: float) -> None:
        """C += weight conj(x) x^T, and the same for the mean."""
        self.add_outer(sample, weight)
        for mean, x in zip(self.mean, sample, strict=True):
            np.add(mean, np.float32(weight) * x, out=mean)

    def add_outer(self, x: Sequence[ComplexArray], weight: float) -> None:
        """C += weight conj(x) x^T, the mean unchanged."""
        for (g, h), block in self._blocks.items():
            left = self._centre(x[g], g, h).conj() * np.float32(weight)
            np.add(block, left[..., :, None] * x[h][..., None, :], out=block)

    def apply(self, f: Sequence[ComplexArray]) -> list[ComplexArray]:
        """C f per frequency: sum_j w_j conj(x_j) (x_j^T f). Same shapes as `f`."""
        out = [np.zeros(shape, np.complex64) for shape in self._shapes]
        for (g, h), block in self._blocks.items():
            target = self._centre(out[g], g, h)
            target += (block @ f[h][..., None])[..., 0]
            if g != h:
                # The adjoint block: conj(block)^T f = conj(conj(f)^T block).
                part = self._centre(f[g], g, h).conj()[..., None, :] @ block
                out[h] += part[..., 0, :].conj()
        return out
