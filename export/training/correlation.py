"""The correlation-tracking loss: a filter solved in closed form inside the graph (method, eq. 2, 3, 6 and 8).

Convention: the filter is learned so that correlating it with the template itself gives the label at zero; a
search patch whose content lies k cells further down (right) moves the response's peak k rows down (columns
right). In the spectra that is conj(template) * label in the numerator of eq. 2, and a plain product with the
search patch in eq. 3; `tests/export/test_correlation.py` proves it.

Everything stays in the Fourier domain: by Parseval's theorem the squared error of the response over the cells
is that of its spectrum, so that no transform back is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edge_runtime.settings_file import require
from export.student import LEVEL_STRIDES

EPSILON = 1e-12


@dataclass(frozen=True)
class FilterSettings:
    """What the filter inside the loss is like.

    Attributes:
        regularisation: lambda_cf of eq. 2, as a share of the template's mean energy over the frequencies.
        label_sigma: standard deviation of the label, as a share of sqrt(area) of the target; ECO has 1/12.
        low_pooling: cells of the low level averaged in each direction, as ECO does (stride 2 to 4).
        location_sigma: as `label_sigma`, of the place that the location loss wants.
    """

    regularisation: float = 0.1
    label_sigma: float = 1 / 12
    low_pooling: int = 2
    location_sigma: float = 0.15

    def __post_init__(self) -> None:
        require("filter.regularisation", self.regularisation, self.regularisation > 0, "more than 0")
        require("filter.label_sigma", self.label_sigma, self.label_sigma > 0, "more than 0")
        require("filter.location_sigma", self.location_sigma, self.location_sigma > 0, "more than 0")
        require("filter.low_pooling", self.low_pooling, self.low_pooling >= 1, "1 or more")


@dataclass(frozen=True)
class FilterTask:
    """What the responses of a batch of n pairs should be.

    Attributes:
        shift_px: (n, 2), rows and columns from the target's place in the template to that in the search
            patch, in pixels of the patches.
        target_px: (n, 2), rows and columns of the target in the template, pixels.
    """

    shift_px: Tensor
    target_px: Tensor


def tracking_loss(
    level: str, template: Tensor, search: Tensor, task: FilterTask, settings: FilterSettings
) -> Tensor:
    """Squared error of one level's responses, relative to the label's energy: a response of zero costs 1.

    Args:
        level: name of it; gives the stride.
        template: maps (n, channels, rows, columns), float32 or float64.
        search: of the same shape.
        task: where the targets are.

    Returns:
        A scalar, the mean over the pairs.
    """
    filters, label = _learn(level, template, task, settings)
    x = spectrum(prepare(level, search, settings))
    response = (filters * x).sum(1)
    rows, columns = map_size(level, search, settings)
    stride = map_stride(level, settings)
    wanted = moved(label, task.shift_px / stride, rows, columns)
    weights = _half_weights(columns, label)
    error = _energy(response - wanted, weights)
    return (error / _energy(label, weights)).mean()


def background_loss(
    level: str, template: Tensor, negatives: Tensor, task: FilterTask, settings: FilterSettings
) -> Tensor:
    """Energy of the responses to patches without the target (method, eq. 10), relative to the label's.

    Args:
        negatives: maps (n * k, channels, rows, columns): k patches for each of the n templates, in order.
    """
    filters, label = _learn(level, template, task, settings)
    x = spectrum(prepare(level, negatives, settings))
    n = len(template)
    response = (filters[:, None] * x.reshape(n, -1, *x.shape[1:])).sum(2)
    weights = _half_weights(map_size(level, negatives, settings)[1], label)
    return (_energy(response, weights) / _energy(label, weights)[:, None]).mean()


def responses(
    level: str, template: Tensor, search: Tensor, task: FilterTask, settings: FilterSettings
) -> Tensor:
    """Response maps (n, rows, columns) of eq. 3, the zero displacement in cell (0, 0)."""
    spectra = response_spectra(level, template, search, task, settings)
    maps: Tensor = torch.fft.irfft2(spectra, s=map_size(level, search, settings))
    return maps


def response_spectra(
    level: str, template: Tensor, search: Tensor, task: FilterTask, settings: FilterSettings
) -> Tensor:
    """Half spectra of `responses`."""
    filters, _ = _learn(level, template, task, settings)
    spectra: Tensor = (filters * spectrum(prepare(level, search, settings))).sum(1)
    return spectra


def prepare(level: str, maps: Tensor, settings: FilterSettings) -> Tensor:
    """Maps as the filter takes them: the low level pooled, of unit mean square, under a Hann window.

    Every sample has its own factor (as ECO's feature normalisation), so that the loss cannot be lowered by
    the scale of the features.
    """
    if level == "low" and settings.low_pooling > 1:
        maps = functional.avg_pool2d(maps, settings.low_pooling)
    # FFTs and energies need more than half precision, under autocast too.
    maps = maps.float() if maps.dtype in {torch.float16, torch.bfloat16} else maps
    mean_square = maps.square().mean((1, 2, 3), keepdim=True)
    rows, columns = maps.shape[2:]
    window = hann(rows, maps)[:, None] * hann(columns, maps)
    prepared: Tensor = maps * torch.rsqrt(mean_square + EPSILON) * window
    return prepared


def hann(cells: int, like: Tensor) -> Tensor:
    """A Hann window whose ends are not zero, so that all cells count, (cells,)."""
    position = torch.arange(1, cells + 1, device=like.device, dtype=like.dtype)
    return 0.5 * (1 - torch.cos(2 * math.pi * position / (cells + 1)))


def spectrum(maps: Tensor) -> Tensor:
    """Half spectra (..., rows, columns // 2 + 1) of real maps."""
    spectra: Tensor = torch.fft.rfft2(maps)
    return spectra


def label_spectrum(rows: int, columns: int, sigma_cells: Tensor) -> Tensor:
    """Half spectra (n, rows, columns // 2 + 1) of Gaussians of height 1 at cell (0, 0), real.

    The samples of the Fourier series, as ECO's label function: they can be moved by parts of a cell without
    changing their energy, which the samples of the Gaussian itself cannot when sigma is below a cell.

    Args:
        sigma_cells: (n,), standard deviations.
    """
    sigma = sigma_cells[:, None]
    f_rows = torch.fft.fftfreq(rows, device=sigma.device, dtype=sigma.dtype)
    f_columns = torch.fft.rfftfreq(columns, device=sigma.device, dtype=sigma.dtype)
    one_way = (_series(sigma, f_rows), _series(sigma, f_columns))
    return one_way[0][:, :, None] * one_way[1][:, None, :]


def moved(spectra: Tensor, shift_cells: Tensor, rows: int, columns: int) -> Tensor:
    """Half spectra of the same maps moved down and to the right by `shift_cells`, (n, 2)."""
    f_rows = torch.fft.fftfreq(rows, device=shift_cells.device, dtype=shift_cells.dtype)
    f_columns = torch.fft.rfftfreq(columns, device=shift_cells.device, dtype=shift_cells.dtype)
    turns = shift_cells[:, :1, None] * f_rows[:, None] + shift_cells[:, 1:, None] * f_columns
    return spectra * torch.polar(torch.ones_like(turns), -2 * math.pi * turns)


def _series(sigma: Tensor, frequencies: Tensor) -> Tensor:
    return math.sqrt(2 * math.pi) * sigma * torch.exp(-2 * (math.pi * sigma * frequencies) ** 2)


def _learn(level: str, template: Tensor, task: FilterTask, settings: FilterSettings) -> tuple[Tensor, Tensor]:
    """Filters (n, channels, rows, half columns) of eq. 2 and the labels' spectra (n, rows, half columns)."""
    maps = prepare(level, template, settings)
    x = spectrum(maps)
    sigma_px = settings.label_sigma * task.target_px.to(maps.dtype).prod(1).sqrt()
    rows, columns = maps.shape[2:]
    label = label_spectrum(rows, columns, sigma_px / map_stride(level, settings))
    energy = (x.real.square() + x.imag.square()).sum(1)
    floor = settings.regularisation * energy.mean((1, 2), keepdim=True)
    return x.conj() * (label / (energy + floor))[:, None], label


def map_size(level: str, maps: Tensor, settings: FilterSettings) -> tuple[int, int]:
    """Rows and columns of a level's responses."""
    pooling = settings.low_pooling if level == "low" else 1
    return maps.shape[2] // pooling, maps.shape[3] // pooling


def map_stride(level: str, settings: FilterSettings) -> int:
    """Pixels per cell of them."""
    return LEVEL_STRIDES[level] * (settings.low_pooling if level == "low" else 1)


def _half_weights(columns: int, like: Tensor) -> Tensor:
    """How often a column of a half spectrum stands in the whole one, (columns // 2 + 1,)."""
    weights = torch.full((columns // 2 + 1,), 2.0, device=like.device, dtype=like.real.dtype)
    weights[0] = 1
    if columns % 2 == 0:
        weights[-1] = 1
    return weights


def _energy(spectra: Tensor, weights: Tensor) -> Tensor:
    """Sum of squares over the last two dimensions of whole spectra."""
    squares = spectra.real.square() + spectra.imag.square() if spectra.is_complex() else spectra.square()
    return (squares * weights).sum((-2, -1))
