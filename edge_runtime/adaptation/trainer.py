"""From a frame and a box to weights that suit the target better, or why the old ones stay (method, 3)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_runtime.adaptation.crops import CropSet, cut_crops
from edge_runtime.adaptation.filter_loss import Crops
from edge_runtime.adaptation.model import AdaptableNetwork
from edge_runtime.adaptation.network import AdaptedPart, Gradients, Maps
from edge_runtime.adaptation.objective import Objective
from edge_runtime.adaptation.settings import AdaptConfig
from edge_runtime.model_weights import Weights
from edge_runtime.types import Box, FloatArray, Frame

CANDIDATES = 3  # times the negatives that are wanted: the hardest stay
HELD_BACK = 12  # crops that judge the result


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        weights: of the adapted convolutions; None if the old ones stay.
        loss_before, loss_after: of the correlation on crops that were held back.
        iterations: how many were made.
        negatives: how many crops without the target there were.
        reason: why the old weights stay; empty if they do not.
    """

    weights: dict[str, Weights] | None
    loss_before: float
    loss_after: float
    iterations: int
    negatives: int
    reason: str = ""


def adapt(frame: Frame, box: Box, network: AdaptableNetwork, config: AdaptConfig) -> Outcome:
    """Fine-tune on the first frame.

    Args:
        frame: uint8 BGR (rows, columns, 3).
        box: the target.
        network: as it is.
        config: what to do.
    """
    part = network.part()
    objective = Objective(network.levels, config.fidelity_weight)
    judge = Objective(objective.levels, 0.0)
    rng = np.random.default_rng(config.seed)
    cut = functools.partial(
        cut_crops, frame, box, search_scale=config.search_scale, crop_px=config.crop_px, rng=rng
    )
    kept = _prepared(cut(positives=HELD_BACK, negatives=HELD_BACK), network, part, config)
    more = CANDIDATES * config.negatives
    used = _prepared(cut(positives=config.positives, negatives=more), network, part, config)
    used = used.hardest(objective, config.negatives)
    loss_before = judge(kept.offline, kept.offline, kept.crops)[0]
    descent = _Descent(part, config)
    for _ in range(config.iterations):
        descent.step(_gradients(part, objective, used))
    loss_after = judge(part.maps(kept.x), kept.offline, kept.crops)[0]
    negatives = int((~used.crops.present).sum())
    better = math.isfinite(loss_after) and loss_after < loss_before
    reason = "" if better else f"worse on held-back crops ({loss_before:.3f} before, {loss_after:.3f} after)"
    new = part.weights if better else None
    return Outcome(new, loss_before, loss_after, config.iterations, negatives, reason)


@dataclass(frozen=True)
class _Prepared:
    """Crops as the adapted part takes them, the template first."""

    x: FloatArray
    offline: Maps
    crops: Crops

    def hardest(self, objective: Objective, negatives: int) -> _Prepared:
        """All crops with the target, and of the others those that the filter answers to most."""
        absent = np.flatnonzero(~self.crops.present)
        if len(absent) > negatives:
            peaks = objective.peaks(self.offline, self.crops)[absent]
            absent = absent[np.argsort(-peaks, kind="stable")[:negatives]]
        kept = np.sort(np.concatenate([np.flatnonzero(self.crops.present), absent]))
        rows = np.concatenate([[0], kept + 1])
        offline = {level: maps[rows] for level, maps in self.offline.items()}
        return _Prepared(self.x[rows], offline, self.crops.part(kept))


def _prepared(crops: CropSet, network: AdaptableNetwork, part: AdaptedPart, config: AdaptConfig) -> _Prepared:
    x = network.before(np.concatenate([crops.template[None], crops.patches]))
    offline = part.maps(x)
    wanted = Crops(crops.shifts_px, crops.present, crops.target_px, config.negative_weight)
    return _Prepared(x, offline, wanted)


def _gradients(part: AdaptedPart, objective: Objective, used: _Prepared) -> Gradients:
    maps, steps = part.forward(used.x)
    _, of_maps = objective(maps, used.offline, used.crops)
    return part.backward(steps, of_maps)


class _Descent:
    """Gradient descent with momentum, each layer's step relative to the norm of its weights.

    So one learning rate fits layers of any scale (You et al. 2017, layer-wise adaptive rates).
    """

    def __init__(self, part: AdaptedPart, config: AdaptConfig) -> None:
        self.part, self.config = part, config
        self.velocity: dict[str, Weights] = {}

    def step(self, gradients: Mapping[str, Weights]) -> None:
        """One update of all layers."""
        new = {}
        for name, gradient in gradients.items():
            weights = self.part.weights[name]
            of_weight = gradient.weight + np.float32(2 * self.config.weight_decay) * weights.weight
            norm = math.sqrt(float(np.square(of_weight).sum() + np.square(gradient.bias).sum()))
            size = math.sqrt(float(np.square(weights.weight).sum()))
            rate = np.float32(self.config.learning_rate * size / norm if norm > 0 else 0.0)
            old = self.velocity.get(name)
            momentum = np.float32(self.config.momentum)
            weight, bias = rate * of_weight, rate * gradient.bias
            if old is not None:
                weight, bias = weight + momentum * old.weight, bias + momentum * old.bias
            self.velocity[name] = Weights(weight, bias)
            new[name] = Weights(weights.weight - weight, weights.bias - bias)
        self.part.set_weights(new)
