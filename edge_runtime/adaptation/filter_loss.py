"""The correlation losses of method, eq. 2, 3, 8 and 10, with their gradients, for one template.

The same sums as the exporter's (`export.training.correlation`), which explains the conventions; there torch
finds the gradients, here they are written out. For a real function f of complex spectra, the gradient is
df/d(real part) + i df/d(imaginary part).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_runtime.trackers.fourier import hann_window
from edge_runtime.types import FloatArray

EPSILON = 1e-12
Spectrum = NDArray[np.complexfloating[Any, Any]]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FilterSettings:
    """Attributes as in `[filter]` of the exporter's training settings, whose defaults these are.

    Attributes:
        regularisation: lambda_cf of eq. 2, as a share of the template's mean energy over the frequencies.
        label_sigma: standard deviation of the label, as a share of sqrt(area) of the target.
        low_pooling: cells of the low level averaged in each direction.
    """

    regularisation: float = 0.1
    label_sigma: float = 1 / 12
    low_pooling: int = 2


@dataclass(frozen=True)
class Crops:
    """What the responses to n search patches should be.

    Attributes:
        shifts_px: float64 (n, 2), rows and columns from the target's place in the template to that in the
            search patch, in pixels of the patches.
        present: bool (n,), whether the target is there at all; where not, no response is wanted (eq. 10).
        target_px: rows and columns of the target in the template.
        negative_weight: weight of a patch without the target, beside 1 for one with it.
    """

    shifts_px: NDArray[np.float64]
    present: NDArray[np.bool_]
    target_px: tuple[float, float]
    negative_weight: float = 1.0

    @property
    def shares(self) -> Floats:
        """Of the patches in the loss, (n,)."""
        weights = np.where(self.present, 1.0, self.negative_weight)
        shares: Floats = weights / max(weights.sum(), 1e-12)
        return shares

    def part(self, which: NDArray[np.intp]) -> Crops:
        """Those of some patches."""
        return replace(self, shifts_px=self.shifts_px[which], present=self.present[which])


class Loss(NamedTuple):
    """A loss with its gradients, which have the maps' shapes."""

    value: float
    template: FloatArray
    search: FloatArray


class _Prepared(NamedTuple):
    """Maps of unit mean square under a window, and what the way back needs."""

    spectra: Spectrum
    maps: FloatArray
    factor: FloatArray
    window: FloatArray


def correlation_loss(
    template: FloatArray,
    search: FloatArray,
    crops: Crops,
    stride: int,
    settings: FilterSettings,
) -> Loss:
    """Squared errors of the responses to search patches, relative to the label's energy; their weighted mean.

    Args:
        template: maps (1, rows, columns, channels) of the patch that the filter is learned from.
        search: maps (n, rows, columns, channels), of the n patches of `crops`.
        stride: of the level, pixels.
        settings: `low_pooling` is for the caller, who knows the level.
    """
    x, z = _prepare(template), _prepare(search)
    rows, columns = search.shape[1:3]
    label, gain, floored = _filter(x, crops.target_px, stride, settings)
    weights = half_weights(columns)
    product = (x.spectra.conj() * z.spectra).sum(-1)
    wanted = moved(label, crops.shifts_px / stride, rows, columns) * crops.present[:, None, None]
    error = gain * product - wanted
    shares = crops.shares / float((weights * np.square(label)).sum())
    scale = weights * shares[:, None, None]
    value = float((scale * np.square(np.abs(error))).sum())

    of_response = 2 * scale * error
    of_product = gain * of_response
    of_search = x.spectra * of_product[..., None]
    of_gain = (of_response.conj() * product).real.sum(0)
    of_energy = -of_gain * gain / floored
    of_energy += settings.regularisation / floored.size * of_energy.sum()
    of_template = (z.spectra * of_product.conj()[..., None]).sum(0) + 2 * x.spectra[0] * of_energy[..., None]
    return Loss(value, _unprepare(x, of_template[None]), _unprepare(z, of_search))


def peaks(
    template: FloatArray, search: FloatArray, crops: Crops, stride: int, settings: FilterSettings
) -> Floats:
    """The responses' maxima, (n,); arguments as of `correlation_loss`."""
    x, z = _prepare(template), _prepare(search)
    _, gain, _ = _filter(x, crops.target_px, stride, settings)
    product = (x.spectra.conj() * z.spectra).sum(-1)
    found: Floats = np.fft.irfft2(gain * product, s=search.shape[1:3]).max((1, 2))
    return found


def average_pool(maps: FloatArray, cells: int) -> FloatArray:
    """Means of cells x cells; what is left over at the bottom and right is dropped."""
    if cells == 1:
        return maps
    n, rows, columns, channels = maps.shape
    rows, columns = rows // cells, columns // cells
    kept = maps[:, : rows * cells, : columns * cells]
    pooled: FloatArray = kept.reshape(n, rows, cells, columns, cells, channels).mean((2, 4))
    return pooled


def average_pool_backward(gradient: FloatArray, cells: int, shape: tuple[int, ...]) -> FloatArray:
    """Gradient of the maps of that shape which were pooled."""
    if cells == 1:
        return gradient
    found = np.zeros(shape, np.float32)
    spread = gradient.repeat(cells, 1).repeat(cells, 2) / np.float32(cells**2)
    found[:, : spread.shape[1], : spread.shape[2]] = spread
    return found


def label_spectrum(rows: int, columns: int, sigma_cells: float) -> Floats:
    """Half spectrum (rows, columns // 2 + 1) of a Gaussian of height 1 at cell (0, 0), real."""
    down, across = _series(sigma_cells, np.fft.fftfreq(rows)), _series(sigma_cells, np.fft.rfftfreq(columns))
    return down[:, None] * across


def moved(spectrum: Floats, shifts_cells: Floats, rows: int, columns: int) -> Spectrum:
    """Half spectra (n, rows, columns // 2 + 1) of a map moved down and to the right, by (n, 2)."""
    turns = shifts_cells[:, :1, None] * np.fft.fftfreq(rows)[:, None]
    turns = turns + shifts_cells[:, 1:, None] * np.fft.rfftfreq(columns)
    spectra: Spectrum = spectrum * np.exp(-2j * math.pi * turns)
    return spectra


def half_weights(columns: int) -> Floats:
    """How often a column of a half spectrum stands in the whole one, (columns // 2 + 1,)."""
    weights = np.full(columns // 2 + 1, 2.0)
    weights[0] = 1
    if columns % 2 == 0:
        weights[-1] = 1
    return weights


def _filter(
    x: _Prepared, target_px: tuple[float, float], stride: int, settings: FilterSettings
) -> tuple[Floats, Floats, Floats]:
    """The label, the gain (the filter is the template's conjugate spectrum times it), and its divisor."""
    rows, columns = x.maps.shape[1:3]
    sigma = settings.label_sigma * math.sqrt(target_px[0] * target_px[1]) / stride
    label = label_spectrum(rows, columns, sigma)
    energy = np.square(np.abs(x.spectra[0])).sum(-1)
    floored = energy + settings.regularisation * energy.mean() + EPSILON  # a dead map has none
    return label, label / floored, floored


def _series(sigma: float, frequencies: Floats) -> Floats:
    series: Floats = math.sqrt(2 * math.pi) * sigma * np.exp(-2 * (math.pi * sigma * frequencies) ** 2)
    return series


def _prepare(maps: FloatArray) -> _Prepared:
    rows, columns = maps.shape[1:3]
    window = hann_window(rows, columns)[..., None]
    factor = 1 / np.sqrt(np.square(maps).mean((1, 2, 3), keepdims=True) + EPSILON)
    spectra = np.fft.rfft2(maps * factor * window, axes=(1, 2))
    return _Prepared(spectra, maps, factor, window)


def _unprepare(prepared: _Prepared, of_spectra: Spectrum) -> FloatArray:
    """Gradient of the maps from that of their prepared spectra."""
    maps, factor = prepared.maps, prepared.factor
    rows, columns = maps.shape[1:3]
    # A half spectrum counts once here, in the inverse transform its inner columns count twice.
    halves = of_spectra / half_weights(columns)[:, None]
    of_windowed = rows * columns * np.fft.irfft2(halves, s=(rows, columns), axes=(1, 2)) * prepared.window
    of_factor = (of_windowed * maps).sum((1, 2, 3), keepdims=True)
    count = maps[0].size
    found: FloatArray = (factor * of_windowed - factor**3 / count * of_factor * maps).astype(np.float32)
    return found
