"""Settings of adaptation, the table `[adapt]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_runtime.settings_file import require

AdaptMode = Literal["off", "blocking", "background"]
AdaptedLayers = Literal["conv5", "conv3-conv5", "all"]


@dataclass(frozen=True)
class AdaptConfig:
    """How the network is adapted to a new target.

    Attributes:
        mode: "off"; "blocking" (the first frame waits for it); "background" (tracking starts at once).
        layers: that change; those before them stay as exported.
        iterations: of gradient descent.
        positives, negatives: crops in each iteration.
        learning_rate: change of a layer's weights per iteration, relative to their norm.
        momentum: of the descent.
        negative_weight: weight of the crops without the target, beside 1 for those with it.
        fidelity_weight: weight of staying near the network as it was, beside 1 for tracking.
        weight_decay: weight of the squares of the weights themselves, gamma of eq. 11.
        search_scale: side of a crop over the root of the target's area.
        crop_px: side of a crop that the network sees.
        seed: of the crops.
        nice: priority of the process that adapts, 0 (as the tracker's) to 19 (the lowest).
        cpu: number of the core that it runs on; -1 for those that the tracker may not use, or any.
        timeout_s: when to give up.
    """

    mode: AdaptMode = "off"
    layers: AdaptedLayers = "conv3-conv5"
    iterations: int = 8
    positives: int = 16
    negatives: int = 16
    learning_rate: float = 0.01
    momentum: float = 0.9
    negative_weight: float = 1.0
    fidelity_weight: float = 1.0
    weight_decay: float = 0.00001
    search_scale: float = 4.5
    crop_px: int = 160
    seed: int = 0
    nice: int = 10
    cpu: int = -1
    timeout_s: float = 180.0

    def __post_init__(self) -> None:
        bounds = {
            "iterations": (1 <= self.iterations <= 1000, "1 to 1000"),
            "positives": (1 <= self.positives <= 256, "1 to 256"),
            "negatives": (0 <= self.negatives <= 256, "0 to 256"),
            "learning_rate": (0 < self.learning_rate <= 1, "more than 0, up to 1"),
            "momentum": (0 <= self.momentum < 1, "0 to below 1"),
            "negative_weight": (0 <= self.negative_weight <= 100, "0 to 100"),
            "fidelity_weight": (0 <= self.fidelity_weight <= 100, "0 to 100"),
            "weight_decay": (0 <= self.weight_decay <= 1, "0 to 1"),
            "search_scale": (2 <= self.search_scale <= 8, "2 to 8"),
            "crop_px": (96 <= self.crop_px <= 320, "96 to 320"),
            "nice": (0 <= self.nice <= 19, "0 to 19"),
            "cpu": (self.cpu >= -1, "-1 or a core's number"),
            "timeout_s": (0 < self.timeout_s <= 3600, "more than 0, up to 3600"),
        }
        for name, (good, expected) in bounds.items():
            require(f"adapt.{name}", getattr(self, name), good, expected)
