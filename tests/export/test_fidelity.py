"""The fidelity loss against what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from export.training.fidelity import LOW_EVERY, FidelityLoss, compared_cells

STUDENT, TEACHER = {"low": 3, "high": 4}, {"low": 5, "high": 6}


def maps(channels: dict[str, int], seed: int, compared: bool = False) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    whole = {level: torch.from_numpy(rng.normal(3, 2, (8, c, 9, 11))) for level, c in channels.items()}
    return {level: compared_cells(level, x) if compared else x for level, x in whole.items()}


def fidelity(standardised: bool = True) -> FidelityLoss:
    torch.manual_seed(0)
    loss = FidelityLoss(STUDENT, TEACHER).double()
    if standardised:
        loss.standardise([maps(TEACHER, 1, compared=True)])
    return loss


def test_predicting_the_teachers_mean_costs_one() -> None:
    loss = fidelity()
    for head in loss.heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    for value in loss(maps(STUDENT, 2), maps(TEACHER, 1, compared=True)).values():
        assert float(value.detach()) == pytest.approx(1, abs=0.02)


def test_a_student_that_is_a_mixture_of_its_teacher_can_reach_zero() -> None:
    """The least squares solution put into the heads leaves nothing: the levels' cells are the same ones."""
    student = maps(STUDENT, 3)
    teacher = {}
    for level, channels in TEACHER.items():
        mixture = torch.from_numpy(np.random.default_rng(4).normal(size=(channels, STUDENT[level])))
        teacher[level] = compared_cells(level, torch.einsum("ts,nsrc->ntrc", mixture, student[level]))
    loss = fidelity(standardised=False)
    loss.standardise([teacher])
    for level, head in loss.heads.items():
        x = compared_cells(level, student[level]).transpose(0, 1).flatten(1)
        y = (teacher[level] - loss.get_buffer(f"{level}_mean")) / loss.get_buffer(f"{level}_std")
        with_one = torch.cat([x, torch.ones(1, x.shape[1], dtype=x.dtype)]).T
        solution = torch.linalg.lstsq(with_one, y.transpose(0, 1).flatten(1).T).solution
        head.weight.data, head.bias.data = solution[:-1].T[:, :, None, None], solution[-1]
    for value in loss(student, teacher).values():
        assert float(value.detach()) < 1e-20


def test_channels_that_hardly_fire_do_not_count_more_than_others() -> None:
    teacher = maps(TEACHER, 1, compared=True)
    teacher["high"][:, 0] *= 1e-6
    loss = fidelity(standardised=False)
    loss.standardise([teacher])
    deviations = loss.get_buffer("high_std").flatten()
    assert float(deviations[0]) == pytest.approx(0.2 * float(deviations[1:].mean()) * 5 / 6, rel=0.01)


def test_gradients_are_those_of_finite_differences() -> None:
    loss, teacher = fidelity(), maps(TEACHER, 1, compared=True)
    low, high = (x[:2].requires_grad_() for x in maps(STUDENT, 5).values())
    teacher = {level: x[:2] for level, x in teacher.items()}
    assert torch.autograd.gradcheck(
        lambda a, b: torch.stack(list(loss({"low": a, "high": b}, teacher).values())), (low, high)
    )


def test_of_the_low_level_every_fourth_cell_is_compared() -> None:
    x = torch.arange(81.0).reshape(1, 1, 9, 9)
    expected = [9 * LOW_EVERY * row + column for row in range(3) for column in (0, 4, 8)]
    assert compared_cells("low", x).flatten().tolist() == expected
    assert compared_cells("high", x) is x
