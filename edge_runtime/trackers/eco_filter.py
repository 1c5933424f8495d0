"""ECO's filter of one target: continuous convolution operators, factorised (Danelljan 2017, CVPR, section 3).

Set-up and NumPy's side of the compiled filter. Feature blocks of equally many cells share one grid, their
channels behind one another; grids are kept with the largest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from edge_runtime.core import kernels
from edge_runtime.trackers.fourier import hann_window
from edge_runtime.trackers.interpolation import interpolation_series
from edge_runtime.trackers.regularisation import (
    convolved_with_itself,
    quadratic_window,
    sparse_window_spectrum,
)
from edge_runtime.trackers.series import frequencies, odd
from edge_runtime.trackers.settings import EcoConfig
from edge_runtime.types import FloatArray

NUMBERS = (
    "samples",
    "iterations",
    "first_gauss_newton",
    "first_iterations",
    "learning_rate",
    "forgetting",
    "precondition_data",
    "precondition_regularisation",
    "precondition_projection",
    "projection_regularisation",
)


class EcoFilter:
    """Filter, projection, sample memory and localisation.

    Args:
        cells: per feature block, cells along an axis of its maps.
        channels_in: per feature block, channels of its maps.
        support_px: side of the sample that the maps cover.
        base_px: (h, w) of the target within the sample.

    Attributes:
        output_size: grid of the response.
        core: the compiled filter.
    """

    def __init__(
        self,
        config: EcoConfig,
        cells: Sequence[int],
        channels_in: Sequence[int],
        support_px: int,
        base_px: tuple[float, float],
    ) -> None:
        self.config = config
        self.output_size = odd(max(cells))
        target_px = math.sqrt(max(math.floor(base_px[0]) * math.floor(base_px[1]), 1))
        sigma = target_px * config.label_sigma * self.output_size / support_px
        sizes = sorted(set(cells), reverse=True)
        window = quadratic_window(support_px, base_px, config.window_least, config.window_edge)
        kernel = sparse_window_spectrum(window, config.window_least, config.window_threshold)
        settings = asdict(config)
        numbers = {name: settings[name] for name in NUMBERS}
        numbers["window_energy"] = float((kernel.astype(np.float64) ** 2).sum())
        self.core = kernels.EcoFilter(
            [self._grid(n, sigma) for n in sizes],
            [(i, o, sizes.index(n)) for i, o, n in zip(channels_in, config.channels, cells, strict=True)],
            convolved_with_itself(kernel),
            numbers,
        )

    def _grid(self, cells: int, sigma: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Window, interpolation and label of a grid, as the compiled filter takes them."""
        interpolation = interpolation_series(odd(cells))[..., 0]
        parts = np.stack([interpolation.real, interpolation.imag], -1)
        return hann_window(cells, cells), parts, gaussian_series(odd(cells), sigma, self.output_size)

    def learn_first(self, maps: Sequence[FloatArray], shift: tuple[float, float]) -> None:
        """Filter and projection together, from the first frame.

        Args:
            maps: per block, (cells, cells, channels).
            shift: of the target from the sample's centre, in radians of the sample's period.
        """
        projections = [principal_axes(m, c) for m, c in zip(maps, self.config.channels, strict=True)]
        self.core.learn_first(list(maps), projections, *shift)


def gaussian_series(size: int, sigma: float, period: int) -> FloatArray:
    """Fourier series of a periodic Gaussian (Poisson's formula), (size, stored columns) float32.

    y(k) = sqrt(2 pi) s exp(-2 (pi s k)^2) along each axis, s = sigma / period.
    """
    share = sigma / period
    down, across = (
        math.sqrt(2 * math.pi) * share * np.exp(-2 * (math.pi * share * k.astype(np.float64)) ** 2)
        for k in frequencies(size)
    )
    return np.asarray(np.outer(down, across), np.float32)


def principal_axes(maps: FloatArray, channels: int) -> FloatArray:
    """The first `channels` principal directions of (rows, columns, C) maps: (C, channels) float32."""
    x = maps.reshape(-1, maps.shape[-1]).astype(np.float64)
    x = x - x.mean(0)
    _, vectors = np.linalg.eigh(x.T @ x)
    return np.ascontiguousarray(vectors[:, ::-1][:, :channels], np.float32)
