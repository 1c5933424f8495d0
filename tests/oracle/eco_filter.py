"""ECO's filter of one target: continuous convolution operators, factorised (Danelljan 2017, CVPR, section 3).

Feature blocks of equally many cells share one array, their channels behind one another; what belongs to
a grid is kept in lists with the largest grid first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_runtime.trackers.eco_filter import gaussian_series, principal_axes
from edge_runtime.trackers.fourier import hann_window
from edge_runtime.trackers.interpolation import interpolation_series
from edge_runtime.trackers.regularisation import quadratic_window, sparse_window_spectrum
from edge_runtime.trackers.series import half_columns, odd
from edge_runtime.trackers.settings import EcoConfig
from edge_runtime.types import ComplexArray, FloatArray
from tests.oracle.conjugate_gradient import DirectionState, Vector, conjugate_gradient
from tests.oracle.joint_training import JointProblem, inner_product, train_jointly
from tests.oracle.regularisation import SpectralConvolution
from tests.oracle.sample_space import SampleSpace
from tests.oracle.series import centre_slices, shift_factors, to_series

T = TypeVar("T", np.float32, np.complex64)


@dataclass(frozen=True)
class Grid:
    """One size of feature maps.

    Attributes:
        size: odd number of frequencies along each axis.
        blocks: indices of the feature blocks on it.
        channels: slice of each block's channels, after projection.
        interpolation: see `interpolation_series`.
        label: series of the desired response, (size, stored columns) float32.
    """

    size: int
    blocks: tuple[int, ...]
    channels: tuple[slice, ...]
    interpolation: ComplexArray
    label: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, stored columns, channels) of a sample."""
        return self.size, half_columns(self.size), self.channels[-1].stop


class EcoFilter:
    """Filter, projection and sample memory.

    Args:
        cells: per feature block, cells along an axis of its maps.
        support_px: side of the sample that the maps cover.
        base_px: (h, w) of the target within the sample.

    Attributes:
        output_size: grid of the response.
        space: the sample memory.
        filters: per grid, (rows, stored columns, channels) complex64.
    """

    def __init__(
        self, config: EcoConfig, cells: Sequence[int], support_px: int, base_px: tuple[float, float]
    ) -> None:
        self.config = config
        self._windows = [hann_window(n, n)[..., None] for n in cells]
        self.output_size = odd(max(cells))
        target_px = math.sqrt(max(math.floor(base_px[0]) * math.floor(base_px[1]), 1))
        sigma = target_px * config.label_sigma * self.output_size / support_px
        self.grids = [self._grid(n, cells, sigma) for n in sorted(set(cells), reverse=True)]
        window = quadratic_window(support_px, base_px, config.window_least, config.window_edge)
        kernel = sparse_window_spectrum(window, config.window_least, config.window_threshold)
        self._regularise = SpectralConvolution(kernel)
        self.space = SampleSpace([grid.shape for grid in self.grids], config.samples, config.learning_rate)
        self._state = DirectionState((1 - config.learning_rate) ** config.forgetting)

    def _grid(self, cells: int, all_cells: Sequence[int], sigma: float) -> Grid:
        blocks = tuple(b for b, n in enumerate(all_cells) if n == cells)
        ends = np.cumsum([self.config.channels[b] for b in blocks]).tolist()
        channels = tuple(slice(start, end) for start, end in zip([0, *ends], ends, strict=False))
        size = odd(cells)
        label = gaussian_series(size, sigma, self.output_size)
        return Grid(size, blocks, channels, interpolation_series(size), label)

    def learn_first(self, maps: Sequence[FloatArray], shift: tuple[float, float]) -> None:
        """Filter and projection together, from the first frame.

        Args:
            maps: per block, (cells, cells, channels), normalised.
            shift: of the target from the sample's centre, in radians of the sample's period.
        """
        config = self.config
        grid_of = {b: grid for grid in self.grids for b in grid.blocks}
        series = [
            to_series(m * w) * grid_of[b].interpolation * shift_factors(grid_of[b].size, shift)
            for b, (m, w) in enumerate(zip(maps, self._windows, strict=True))
        ]
        projections = [principal_axes(m, c) for m, c in zip(maps, config.channels, strict=True)]
        energies = [_square(x @ p) for x, p in zip(series, projections, strict=True)]
        labels = [grid_of[b].label for b in range(len(maps))]
        channels_in = sum(m.shape[2] for m in maps)
        problem = JointProblem(
            samples=series,
            labels=labels,
            regularise=self._regularise,
            projection_regularisation=config.projection_regularisation,
            filter_precondition=[self._precondition(energy) for energy in energies],
            projection_precondition=[self._projection_precondition(y, channels_in) for y in labels],
        )
        self._energies = self._by_grid(energies)
        filters, self._projections = train_jointly(
            problem, projections, config.first_gauss_newton, config.first_iterations
        )
        self.filters = self._by_grid(filters)
        self.space.add(self._by_grid([x @ p for x, p in zip(series, self._projections, strict=True)]))

    def series(self, maps: Sequence[FloatArray]) -> list[ComplexArray]:
        """The projected, windowed, interpolated sample of (cells, cells, channels) maps, one array a grid."""
        projected = [(m @ p) * w for m, p, w in zip(maps, self._projections, self._windows, strict=True)]
        return [
            to_series(g) * grid.interpolation
            for g, grid in zip(self._by_grid(projected), self.grids, strict=True)
        ]

    def respond(self, sample: Sequence[ComplexArray]) -> ComplexArray:
        """Series (output_size, stored columns) of the scores: sum over all channels of x f."""
        scores = np.zeros((self.output_size, half_columns(self.output_size)), np.complex64)
        for x, f, grid in zip(sample, self.filters, self.grids, strict=True):
            scores[centre_slices(self.output_size, grid.size)] += np.einsum("hwc,hwc->hw", x, f)
        return scores

    def remember(self, sample: Sequence[ComplexArray], shift: tuple[float, float]) -> None:
        """Take the sample into memory, moved by -`shift` radians, so that the target is at its centre."""
        self._newest = [x * shift_factors(g.size, shift) for x, g in zip(sample, self.grids, strict=True)]
        self.space.add(self._newest)

    def train(self) -> None:
        """A few iterations of the conjugate gradient on all samples, from the current filter.

        (A^H Γ A + W^H W) f = A^H Γ y (eq. 9 of C-COT, eq. 8 of ECO).
        """
        covariance, rate = self.space.covariance, np.float32(self.config.learning_rate)
        for energy, x in zip(self._energies, self._newest, strict=True):
            np.add(energy, rate * (_square(x) - energy), out=energy)
        target: Vector = [
            mean.conj() * grid.label[..., None]
            for mean, grid in zip(covariance.mean, self.grids, strict=True)
        ]

        def apply(f: Vector) -> list[ComplexArray]:
            return [a + self._regularise(part) for a, part in zip(covariance.apply(f), f, strict=True)]

        precondition = [
            np.concatenate([self._precondition(energy[..., c]) for c in grid.channels], -1)
            for energy, grid in zip(self._energies, self.grids, strict=True)
        ]
        self.filters = conjugate_gradient(
            apply,
            target,
            self.filters,
            precondition,
            inner=inner_product,
            iterations=self.config.iterations,
            state=self._state,
        )

    def _precondition(self, energy: FloatArray) -> FloatArray:
        """Diagonal approximation of the normal equations for one block's mean energy, same shape."""
        data, reg = self.config.precondition_data, self.config.precondition_regularisation
        mixed = data * energy + (1 - data) * energy.mean(2, keepdims=True)
        return np.asarray((1 - reg) * mixed + reg * self._regularise.energy, np.float32)

    def _projection_precondition(self, label: FloatArray, channels_in: int) -> float:
        """The same for the projection: one number for a block."""
        energy = 2 * float(np.square(label, dtype=np.float64).sum()) / channels_in
        return self.config.precondition_projection * (energy + self.config.projection_regularisation)

    def _by_grid(self, blocks: Sequence[NDArray[T]]) -> list[NDArray[T]]:
        return [np.concatenate([blocks[b] for b in grid.blocks], -1) for grid in self.grids]


def normalised(maps: FloatArray) -> FloatArray:
    """(n, rows, columns, channels) scaled so that each sample's mean square is 1."""
    count = maps[0].size
    energy = np.einsum("nhwc,nhwc->n", maps, maps)
    factor = np.sqrt(count / (energy + np.finfo(np.float64).eps))
    return np.asarray(maps * factor.astype(np.float32)[:, None, None, None])


def _square(x: ComplexArray) -> FloatArray:
    squares: FloatArray = x.real**2 + x.imag**2
    return squares
