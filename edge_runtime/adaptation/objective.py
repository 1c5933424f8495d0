"""What is minimised on the device: method, eq. 10 and 11, over the crops of the first frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from edge_runtime.adaptation.filter_loss import (
    Crops,
    FilterSettings,
    Floats,
    average_pool,
    average_pool_backward,
    correlation_loss,
    peaks,
)
from edge_runtime.adaptation.network import Maps
from edge_runtime.types import FloatArray

LEVEL_STRIDES = {"low": 2, "middle": 8, "conv3": 16, "high": 16}


@dataclass(frozen=True)
class Objective:
    """Weights of eq. 11.

    Attributes:
        levels: of the correlation loss.
        fidelity: weight of staying near the offline student's maps, beside 1 for the correlation loss.
        filter: of the correlation loss.
    """

    levels: tuple[str, ...]
    fidelity: float = 1.0
    filter: FilterSettings = field(default_factory=FilterSettings)

    def __call__(self, maps: Maps, offline: Maps, crops: Crops) -> tuple[float, Maps]:
        """The loss and its gradients by level.

        Args:
            maps: of all levels that are adapted, (1 + n, rows, columns, channels), the template first.
            offline: the same of the student as it was.
        """
        total, found = 0.0, Maps()
        for level, x in maps.items():
            value, gradient = self._fidelity(x, offline[level], len(maps))
            if level in self.levels:
                more, of_correlation = self.correlation(level, x, crops)
                value, gradient = value + more, gradient + of_correlation
            total += value
            found[level] = gradient
        return total, found

    def correlation(self, level: str, x: FloatArray, crops: Crops) -> tuple[float, FloatArray]:
        """Eq. 10 for one level, a share of the number of levels, and its gradient."""
        pooling = self._pooling(level)
        pooled, stride = average_pool(x, pooling), LEVEL_STRIDES[level] * pooling
        loss = correlation_loss(pooled[:1], pooled[1:], crops, stride, self.filter)
        gradient = np.concatenate([loss.template, loss.search]) / np.float32(len(self.levels))
        return loss.value / len(self.levels), average_pool_backward(gradient, pooling, x.shape)

    def peaks(self, maps: Maps, crops: Crops) -> Floats:
        """How strongly the filters answer to each patch, (n,): the levels' largest responses, summed."""
        found = np.zeros(len(crops.present))
        for level in self.levels:
            pooling = self._pooling(level)
            x = average_pool(maps[level], pooling)
            found += peaks(x[:1], x[1:], crops, LEVEL_STRIDES[level] * pooling, self.filter)
        return found

    def _pooling(self, level: str) -> int:
        return self.filter.low_pooling if level == "low" else 1

    def _fidelity(self, x: FloatArray, offline: FloatArray, levels: int) -> tuple[float, FloatArray]:
        """Squared distance from what the offline student says, relative to its energy."""
        weight = self.fidelity / (levels * float(np.square(offline).sum()) + 1e-12)
        difference = x - offline
        return weight * float(np.square(difference).sum()), np.float32(2 * weight) * difference
