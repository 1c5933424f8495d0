"""Students cut out of their teacher."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from export.pruning import random_pruning
from export.student import COMPRESSION_RATIOS, TEACHER_CHANNELS, CfVgg, LrnParams, channels_for_ratio

LRN = LrnParams(5, 2.0, 3e-4, 0.75)
SMALL = (24, 32, 48, 40, 56)
LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5")


@pytest.fixture(scope="module")
def teacher() -> CfVgg:
    torch.manual_seed(0)
    model = CfVgg(SMALL, LRN).eval()
    for layer in LAYERS:
        torch.nn.init.normal_(model.get_parameter(f"{layer}.bias"))
    return model


def parts(model: CfVgg, layer: str) -> tuple[Tensor, Tensor]:
    return model.get_parameter(f"{layer}.weight").detach(), model.get_parameter(f"{layer}.bias").detach()


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("ratio", COMPRESSION_RATIOS)
def test_filters_are_the_teachers_with_the_inputs_that_were_kept(
    teacher: CfVgg, ratio: int, rescale: bool
) -> None:
    pruned = random_pruning(teacher, ratio, np.random.default_rng(1), rescale)
    assert pruned.channels == channels_for_ratio(ratio, SMALL)
    assert pruned.lrn == LRN
    inputs = [0, 1, 2]
    for layer, count in zip(LAYERS, pruned.channels, strict=True):
        (old, old_bias), (new, new_bias) = parts(teacher, layer), parts(pruned, layer)
        kept = [old_bias.tolist().index(value) for value in new_bias.tolist()]  # biases are all different
        assert kept == sorted(set(kept))
        assert len(kept) == count
        scale = math.sqrt(old.shape[1] / len(inputs)) if rescale else 1.0
        torch.testing.assert_close(new, old[kept][:, inputs] * scale)
        inputs = kept


def test_at_ratio_1_the_network_is_the_teachers_copy(teacher: CfVgg) -> None:
    pruned = random_pruning(teacher, 1, np.random.default_rng(0))
    x = torch.randn(2, 3, 65, 81)
    with torch.no_grad():
        for mine, other in zip(pruned(x), teacher(x), strict=True):
            assert torch.equal(mine, other)
        pruned.conv3.weight.zero_()
    assert teacher.conv3.weight.abs().max() > 0
    assert all(parameter.requires_grad for parameter in pruned.parameters())


def test_the_generator_decides(teacher: CfVgg) -> None:
    def first(seed: int) -> Tensor:
        return random_pruning(teacher, 16, np.random.default_rng(seed)).conv1.weight.detach()

    assert torch.equal(first(0), first(0))
    assert not torch.equal(first(0), first(1))
    generator = np.random.default_rng(0)
    drawn = [random_pruning(teacher, 16, generator).conv1.weight.detach() for _ in range(2)]
    assert torch.equal(drawn[0], first(0))
    assert not torch.equal(drawn[1], first(0))


def test_vgg_m_is_pruned_to_the_students_widths() -> None:
    pruned = random_pruning(CfVgg(TEACHER_CHANNELS), 64, np.random.default_rng(0))
    assert pruned.channels == (12, 32, 64, 64, 64)
    assert pruned.lrn is None


def test_a_frozen_teacher_gives_a_student_that_can_be_trained(teacher: CfVgg) -> None:
    frozen = CfVgg(SMALL, LRN).requires_grad_(False)
    pruned = random_pruning(frozen, 32, np.random.default_rng(0))
    assert all(parameter.requires_grad for parameter in pruned.parameters())


def test_rescaling_keeps_the_size_of_activations() -> None:
    """Without it they shrink in each layer by the root of the ratio of inputs."""
    torch.manual_seed(1)
    wide = CfVgg((64, 128, 256, 256, 256)).eval()
    x = torch.randn(1, 3, 97, 97)

    def size(rescale: bool) -> float:
        with torch.no_grad():
            high = random_pruning(wide, 16, np.random.default_rng(0), rescale)(x).high
            return float(high.square().mean().sqrt() / wide(x).high.square().mean().sqrt())

    assert 0.4 < size(rescale=True) < 2.5
    assert size(rescale=False) < 0.15


def test_unknown_ratios_are_refused(teacher: CfVgg) -> None:
    with pytest.raises(ValueError, match="48"):
        random_pruning(teacher, 48, np.random.default_rng(0))
