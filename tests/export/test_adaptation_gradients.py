"""The NumPy trainer against torch: the same maps, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_runtime.adaptation.filter_loss import Crops
from edge_runtime.adaptation.layers import Normalisation, pool, pool_backward
from edge_runtime.adaptation.network import AdaptedPart
from edge_runtime.adaptation.objective import Objective
from edge_runtime.model_weights import Weights
from export.student import CfVgg, CrossChannelNorm, LrnParams, _pool
from export.training.correlation import FilterSettings, FilterTask, background_loss, tracking_loss

NEGATIVES, POSITIVES = 3, 4
CROPS = Crops(
    shifts_px=np.concatenate(
        [np.random.default_rng(1).uniform(-12, 12, (POSITIVES, 2)), np.zeros((NEGATIVES, 2))]
    ),
    present=np.array([True] * POSITIVES + [False] * NEGATIVES),
    target_px=(31.0, 22.0),
)


def weights_of(model: CfVgg) -> dict[str, Weights]:
    found = {}
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        layer = getattr(model, name)
        found[name] = Weights(
            np.ascontiguousarray(layer.weight.detach().numpy().transpose(0, 2, 3, 1), np.float32),
            layer.bias.detach().numpy().astype(np.float32),
        )
    return found


def norms_of(model: CfVgg) -> dict[str, Normalisation]:
    found = {"conv1": model.norm1, "conv2": model.norm2}
    return {
        name: Normalisation(norm.band[:, :, 0, 0].numpy(), norm.get_buffer("shift").numpy())
        for name, norm in found.items()
        if isinstance(norm, CrossChannelNorm)
    }


def model_and_crops(size: tuple[int, int], lrn: LrnParams | None = None) -> tuple[CfVgg, np.ndarray]:
    torch.manual_seed(3)
    model = CfVgg((6, 8, 10, 12, 14), lrn)
    for layer in model.children():
        if hasattr(layer, "bias"):
            torch.nn.init.normal_(layer.bias, 0, 0.1)
    pictures = np.random.default_rng(2).normal(0, 1, (1 + POSITIVES + NEGATIVES, *size, 3))
    return model, pictures.astype(np.float32)


def torch_loss(model: CfVgg, pictures: np.ndarray, levels: tuple[str, ...], fidelity: float) -> torch.Tensor:
    """Eq. 10 and 11 by the exporter's losses, in double precision."""
    x = torch.from_numpy(pictures.transpose(0, 3, 1, 2)).double()
    maps = model(x)._asdict()
    n, settings = POSITIVES, FilterSettings()
    size = torch.tensor([CROPS.target_px]).double()
    total = torch.zeros((), dtype=torch.float64)
    for level in levels:
        template, search = maps[level][:1], maps[level][1:]
        task = FilterTask(torch.from_numpy(CROPS.shifts_px[:n]), size.expand(n, 2))
        repeated = template.expand(n, -1, -1, -1)
        positive = tracking_loss(level, repeated, search[:n], task, settings)
        one = FilterTask(torch.zeros(1, 2).double(), size)
        negative = background_loss(level, template, search[n:], one, settings)
        total = total + (n * positive + NEGATIVES * negative) / (n + NEGATIVES) / len(levels)
    return total


# An even number of channels, so that the band is not symmetric; strong, so that it matters.
@pytest.mark.parametrize("lrn", [None, LrnParams(n=4, k=1.0, alpha=0.3)], ids=["plain", "normalised"])
@pytest.mark.parametrize("size", [(96, 96), (81, 110)])
@pytest.mark.parametrize("levels", [("high",), ("conv3", "high"), ("low", "middle", "high")])
def test_losses_and_gradients_are_torchs(
    levels: tuple[str, ...], size: tuple[int, int], lrn: LrnParams | None
) -> None:
    model, pictures = model_and_crops(size, lrn)
    part = AdaptedPart(weights_of(model), norms_of(model), "conv1")
    maps, steps = part.forward(pictures)
    offline = {level: np.zeros_like(x) for level, x in maps.items()}
    loss, of_maps = Objective(levels, fidelity=0.0)(maps, offline, CROPS)
    found = part.backward(steps, of_maps)

    model = model.double()
    expected = torch_loss(model, pictures, levels, 0.0)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, gradient in found.items():
        layer = getattr(model, name)
        pairs = [
            (gradient.weight.transpose(0, 3, 1, 2), layer.weight.grad.numpy()),
            (gradient.bias, layer.bias.grad.numpy()),
        ]
        for ours, theirs in pairs:
            error = np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12)
            assert error < 1e-5, (name, error)


def test_levels_are_torchs() -> None:
    model, pictures = model_and_crops((97, 120))
    maps, _ = AdaptedPart(weights_of(model), {}, "conv1").forward(pictures)
    expected = model(torch.from_numpy(pictures.transpose(0, 3, 1, 2)))._asdict()
    for level, x in maps.items():
        np.testing.assert_allclose(x.transpose(0, 3, 1, 2), expected[level].detach(), atol=1e-5)


def test_a_pool_gives_ties_to_the_first() -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 9, 12, 4)).astype(np.float32)
    tensor = torch.from_numpy(x.transpose(0, 3, 1, 2)).requires_grad_()
    y = _pool(tensor)
    gradient = np.random.default_rng(1).normal(size=y.permute(0, 2, 3, 1).shape).astype(np.float32)
    y.backward(torch.from_numpy(gradient.transpose(0, 3, 1, 2)))
    ours = pool(x)
    np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2), y.detach())
    found = pool_backward(x, ours, gradient)
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), tensor.grad, rtol=1e-6, atol=1e-6)


def test_fidelity_pulls_back_to_the_offline_student() -> None:
    model, pictures = model_and_crops((96, 96))
    part = AdaptedPart(weights_of(model), {}, "conv1")
    offline, _ = part.forward(pictures)
    loss, of_maps = Objective((), fidelity=1.0)({k: x * 1.1 for k, x in offline.items()}, offline, CROPS)
    assert loss == pytest.approx(0.01, rel=1e-4)
    for level, x in offline.items():
        expected = 2 * 0.1 * x / (len(offline) * np.square(x).sum())
        np.testing.assert_allclose(of_maps[level], expected, rtol=1e-3, atol=1e-8)
