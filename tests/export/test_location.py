"""The location loss, and how often a target is found."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from export.student import LEVEL_STRIDES, LEVELS
from export.training.correlation import FilterSettings
from export.training.location import located, location_loss
from tests.export.test_correlation import maps, task

SHARP = torch.tensor(3.0, dtype=torch.float64)
WHOLE_CELLS = FilterSettings(low_pooling=1)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-4, 1)])
@pytest.mark.parametrize("size", [(17, 20), (24, 23)])
def test_a_target_is_found_where_it_is_and_costs_least_there(
    level: str, shift: tuple[int, int], size: tuple[int, int]
) -> None:
    template = maps(2, 5, *size)
    search = torch.roll(template, shift, (2, 3))
    stride = LEVEL_STRIDES[level]
    make = partial(task, n=2, target_px=(6.0 * stride, 6.0 * stride))
    loss = partial(location_loss, level, template, search, settings=WHOLE_CELLS, logit_scale=SHARP)
    found = partial(located, level, template, search, settings=WHOLE_CELLS)
    right = make((shift[0] * stride, shift[1] * stride))
    near = make(((shift[0] + 1.5) * stride, shift[1] * stride))  # 0.3 of six cells is 1.8
    assert found(task=right).all()
    assert found(task=near).all()
    assert float(loss(task=right)) < float(loss(task=near))
    for wrong in ((shift[0] + 2, shift[1]), (shift[0], shift[1] - 3), (-shift[0] - 2, -shift[1])):
        other = make((wrong[0] * stride, wrong[1] * stride))
        assert not found(task=other).any()
        assert float(loss(task=other)) > float(loss(task=near))


def test_knowing_nothing_costs_one() -> None:
    template, search = maps(1, 3, 12, 12), torch.zeros(1, 3, 12, 12).double()
    loss = location_loss("high", template, search, task((16.0, 0.0)), FilterSettings(), logit_scale=SHARP)
    assert float(loss) == pytest.approx(1.0)


def test_wrong_certainty_costs_more_than_doubt() -> None:
    template = maps(1, 8, 16, 16)
    loss = partial(location_loss, "middle", template, template, settings=FilterSettings())
    right, wrong = task((0.0, 0.0)), task((64.0, 0.0))
    doubtful, sharp = (torch.tensor(math.log(v)).double() for v in (0.1, 12.0))
    assert float(loss(task=right, logit_scale=sharp)) < 0.9
    assert 0.99 < float(loss(task=right, logit_scale=doubtful)) < 1
    assert 1 < float(loss(task=wrong, logit_scale=doubtful)) < 1.01
    assert float(loss(task=wrong, logit_scale=sharp)) > 1.1


@pytest.mark.parametrize("level", ["low", "high"])
def test_gradients(level: str) -> None:
    """Of features and logit_scale, against finite differences."""
    inputs = tuple(maps(2, 3, 8, 9, seed=s).add(0.1).requires_grad_() for s in (1, 2))
    about = task((9.0, -5.0), n=2)

    def loss(template: Tensor, search: Tensor, logit_scale: Tensor) -> Tensor:
        return location_loss(level, template, search, about, FilterSettings(), logit_scale=logit_scale)

    assert torch.autograd.gradcheck(loss, (*inputs, SHARP.clone().requires_grad_()))
