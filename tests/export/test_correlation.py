"""The tracking loss: its convention, its gradients, and that it rewards features which tell the target."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from export.student import LEVEL_STRIDES, LEVELS
from export.training.correlation import (
    FilterSettings,
    FilterTask,
    background_loss,
    label_spectrum,
    moved,
    prepare,
    responses,
    tracking_loss,
)

WHOLE_CELLS = FilterSettings(low_pooling=1)


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).abs()


def task(
    shift_px: tuple[float, float], n: int = 1, target_px: tuple[float, float] = (40.0, 60.0)
) -> FilterTask:
    shift, target = (torch.tensor([v], dtype=torch.float64).repeat(n, 1) for v in (shift_px, target_px))
    return FilterTask(shift, target)


def peak(response: Tensor) -> tuple[int, int]:
    rows, columns = response.shape
    row, column = divmod(int(response.argmax()), columns)
    return (row + rows // 2) % rows - rows // 2, (column + columns // 2) % columns - columns // 2


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, 2), (-2, 4)])
@pytest.mark.parametrize("size", [(17, 20), (24, 23)])
def test_a_shift_moves_the_peak_by_as_much_the_same_way(
    level: str, shift: tuple[int, int], size: tuple[int, int]
) -> None:
    """Content k rows further down: the peak k rows down; and the label lies where the peak is."""
    template = maps(1, 5, *size)
    search = torch.roll(template, shift, (2, 3))
    stride = LEVEL_STRIDES[level]
    target_px = (6.0 * stride, 6.0 * stride)  # a label of half a cell
    wanted = task((shift[0] * stride, shift[1] * stride), target_px=target_px)
    assert peak(responses(level, template, search, wanted, WHOLE_CELLS)[0]) == shift
    right = tracking_loss(level, template, search, wanted, WHOLE_CELLS)
    for wrong in ((shift[0] + 2, shift[1]), (shift[0], shift[1] - 2), (-shift[0] - 1, -shift[1])):
        other = task((wrong[0] * stride, wrong[1] * stride), target_px=target_px)
        assert float(tracking_loss(level, template, search, other, WHOLE_CELLS)) > float(right)


def test_the_filter_answers_its_own_template_with_the_label() -> None:
    """Without regularisation eq. 2 is exact: the loss vanishes; regularised, it does not."""
    template = maps(2, 6, 15, 15)
    exact = FilterSettings(regularisation=1e-9)
    assert float(tracking_loss("high", template, template, task((0, 0), 2), exact)) < 1e-8
    assert float(tracking_loss("high", template, template, task((0, 0), 2), FilterSettings())) > 1e-4


def test_a_response_of_zero_costs_one_and_background_costs_nothing_then() -> None:
    template, nothing = maps(2, 4, 12, 12), torch.zeros(2, 4, 12, 12, dtype=torch.float64)
    still, settings = task((0, 0), 2), FilterSettings()
    assert float(tracking_loss("high", template, nothing, still, settings)) == pytest.approx(1)
    assert float(background_loss("high", template, nothing, still, settings)) == 0


def test_background_that_looks_like_the_target_costs_more() -> None:
    template = maps(2, 4, 12, 12)
    other = maps(4, 4, 12, 12, seed=1)
    same = template.repeat_interleave(2, 0)
    cost = partial(background_loss, "high", template, task=task((0, 0), 2), settings=FilterSettings())
    assert float(cost(same)) > 1.5 * float(cost(other))


@pytest.mark.parametrize("cells", [(12, 12), (13, 18)])
def test_labels_are_gaussians_and_move_by_parts_of_a_cell(cells: tuple[int, int]) -> None:
    sigma = 1.5
    spectra = label_spectrum(*cells, torch.tensor([sigma], dtype=torch.float64))
    shift = torch.tensor([[1.25, -2.5]], dtype=torch.float64)
    label = torch.fft.irfft2(moved(spectra, shift, *cells), s=cells)[0]
    rows, columns = (np.arange(n)[:, None] - np.arange(-2, 3) * n for n in cells)
    one_way = [np.exp(-0.5 * ((x - s) / sigma) ** 2).sum(1) for x, s in ((rows, 1.25), (columns, -2.5))]
    np.testing.assert_allclose(label.numpy(), np.outer(*one_way), atol=2e-3)


def test_the_scale_of_features_does_not_matter() -> None:
    template, search = maps(1, 4, 12, 12), maps(1, 4, 12, 12, seed=1)
    cost = partial(tracking_loss, "middle", task=task((4, 4)), settings=FilterSettings())
    assert float(cost(1000 * template, 7 * search)) == pytest.approx(float(cost(template, search)), rel=1e-6)


def test_the_low_level_is_pooled_as_eco_does() -> None:
    assert prepare("low", maps(1, 3, 21, 24), FilterSettings()).shape == (1, 3, 10, 12)
    assert prepare("middle", maps(1, 3, 21, 24), FilterSettings()).shape == (1, 3, 21, 24)


@pytest.mark.parametrize("level", LEVELS)
def test_gradients_are_those_of_finite_differences(level: str) -> None:
    """In float64, through both branches and the closed-form filter, at odd and even sizes."""
    template, search = maps(2, 2, 7, 8).requires_grad_(), maps(2, 2, 7, 8, seed=1).requires_grad_()
    for settings in (FilterSettings(), FilterSettings(regularisation=1e-3, low_pooling=1)):
        wanted = task((3.0, -5.5), 2)
        loss = lambda x, z: tracking_loss(level, x, z, wanted, settings)  # noqa: B023, E731 (used at once)
        assert torch.autograd.gradcheck(loss, (template, search))
        negatives = maps(4, 2, 7, 8, seed=2).requires_grad_()
        loss = lambda x, z: background_loss(level, x, z, wanted, settings)  # noqa: B023, E731 (used at once)
        assert torch.autograd.gradcheck(loss, (template, negatives))


def test_half_precision_maps_are_filtered_in_single_precision() -> None:
    template = maps(1, 4, 12, 12).bfloat16()
    shift, target = torch.zeros(1, 2), torch.full((1, 2), 40.0)
    loss = tracking_loss("high", template, template, FilterTask(shift, target), FilterSettings())
    assert loss.dtype == torch.float32
    assert 0.01 < float(loss) < 0.3
