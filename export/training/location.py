"""Where the responses say that the target is: a loss, and how often they are right.

Not of the paper. The squared error of eq. 8 is least where a response is low and flat whenever it is in
doubt, and students that were trained on it alone found the target in fewer held-out pairs the longer they
were trained (docs/measurements.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from export.training.correlation import (
    FilterSettings,
    FilterTask,
    label_spectrum,
    map_size,
    map_stride,
    moved,
    response_spectra,
    responses,
)

LEAST_SIGMA_CELLS = 0.5
FOUND_WITHIN = 0.3  # target sides
FINER = 4  # peaks are looked for at so many places per cell, along each axis


def location_loss(
    level: str,
    template: Tensor,
    search: Tensor,
    task: FilterTask,
    settings: FilterSettings,
    *,
    logit_scale: Tensor,
) -> Tensor:
    """How improbable one level's responses make the target's place, relative to knowing nothing (1).

    The cross entropy between a Gaussian around the place and the softmax of the response over all cells
    (Danelljan et al. 2020, "Probabilistic regression for visual tracking", with the filter of eq. 2). The
    squared error is least where a response is flat and small in case of doubt; this asks that the peak is
    where the target is, whatever else the patch shows.

    Args:
        template: maps (n, channels, rows, columns).
        search: of the same shape.
        task: where the n targets are.
        logit_scale: scalar, the logarithm of what responses are multiplied with; trained as well.

    Returns:
        A scalar, the mean over the pairs.
    """
    maps = responses(level, template, search, task, settings)
    rows, columns = maps.shape[1:]
    stride = map_stride(level, settings)
    sigma = settings.location_sigma * task.target_px.to(maps.dtype).prod(1).sqrt() / stride
    # Under half a cell, a Gaussian's samples do not tell where between the cells it is.
    spectra = label_spectrum(rows, columns, sigma.clamp_min(LEAST_SIGMA_CELLS))
    place = torch.fft.irfft2(moved(spectra, task.shift_px / stride, rows, columns), s=(rows, columns))
    place = place.flatten(1).clamp_min(0)
    wanted = place / place.sum(1, keepdim=True)
    found = functional.log_softmax(maps.flatten(1) * logit_scale.exp(), 1)
    loss: Tensor = -(wanted * found).sum(1).mean() / math.log(rows * columns)
    return loss


def located(
    level: str, template: Tensor, search: Tensor, task: FilterTask, settings: FilterSettings
) -> Tensor:
    """Whether each response's peak is at the target, to 0.3 of the root of its area.

    Args:
        template: maps (n, channels, rows, columns).
        search: of the same shape.
        task: where the n targets are, in pixels.

    Returns:
        bool (n,).
    """
    rows, columns = map_size(level, search, settings)
    fine = _finer(response_spectra(level, template, search, task, settings), rows, columns)
    best = fine.flatten(1).argmax(1)
    size = torch.tensor([rows, columns], device=best.device)
    cells = torch.stack([best // fine.shape[2], best % fine.shape[2]], 1) / FINER
    cells = torch.where(
        cells >= size / 2, cells - size, cells
    )  # the second half are displacements up and left
    error_px = (cells * map_stride(level, settings) - task.shift_px).norm(dim=1)
    hits: Tensor = error_px <= FOUND_WITHIN * task.target_px.prod(1).sqrt()
    return hits


def _finer(spectra: Tensor, rows: int, columns: int) -> Tensor:
    """Maps (n, rows * FINER, columns * FINER) of half spectra (n, rows, columns // 2 + 1)."""
    height, width = rows * FINER, columns * FINER
    padded = spectra.new_zeros(len(spectra), height, width // 2 + 1)
    up, down = (rows + 1) // 2, rows // 2
    padded[:, :up, : spectra.shape[2]] = spectra[:, :up]
    padded[:, height - down :, : spectra.shape[2]] = spectra[:, rows - down :]
    maps: Tensor = torch.fft.irfft2(padded, s=(height, width)) * FINER**2
    return maps
