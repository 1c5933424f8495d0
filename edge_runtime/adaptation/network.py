"""The part of CF-VGG that is adapted: from the map before it to the levels, forwards and backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge_runtime.adaptation.layers import Convolution, Normalisation, before_relu, pool, pool_backward
from edge_runtime.model_weights import Weights
from edge_runtime.types import FloatArray

CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")
STRIDES, PADS = {"conv1": 2, "conv2": 2}, {"conv1": 0}  # 1 otherwise
LEVEL_OF = {"conv1": "low", "conv2": "middle", "conv3": "conv3", "conv5": "high"}
POOLED_BEFORE = {"conv2", "conv3"}
AT_A_TIME = 12
Maps = dict[str, FloatArray]
Gradients = dict[str, Weights]


@dataclass(frozen=True)
class _Step:
    """What the way back through a layer needs.

    Attributes:
        before_pool: what `x` was pooled from, if it was.
        x, y: the convolution's input and output.
        sums: of the normalisation after it, if there is one.
    """

    name: str
    before_pool: FloatArray | None
    x: FloatArray
    y: FloatArray
    sums: FloatArray | None


class AdaptedPart:
    """The convolutions from `first` on.

    Args:
        weights: of all convolutions by name, see `model_weights.read_weights`.
        norms: of those that are followed by a normalisation, by the convolution's name.
        first: name of the first one.
        last: name of the last one.
    """

    def __init__(
        self,
        weights: Mapping[str, Weights],
        norms: Mapping[str, Normalisation],
        first: str,
        last: str = "conv5",
    ) -> None:
        self._norms = norms
        names = CONVOLUTIONS[: CONVOLUTIONS.index(last) + 1]
        self.names = names[names.index(first) :]
        self.layers = {
            name: Convolution(
                weights[name].weight, weights[name].bias, STRIDES.get(name, 1), PADS.get(name, 1)
            )
            for name in self.names
        }

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels that depend on what is adapted."""
        return tuple(LEVEL_OF[name] for name in self.names if name in LEVEL_OF)

    @property
    def weights(self) -> dict[str, Weights]:
        """Of the adapted convolutions."""
        return {name: Weights(self.layers[name].weight, self.layers[name].bias) for name in self.names}

    def set_weights(self, weights: Mapping[str, Weights]) -> None:
        """Replace them, by name."""
        for name, new in weights.items():
            self.layers[name] = replace(self.layers[name], weight=new.weight, bias=new.bias)

    def forward(self, x: FloatArray) -> tuple[Maps, list[_Step]]:
        """The levels that change, and what `backward` needs.

        Args:
            x: what comes before the first layer, before a pool in between, (n, rows, columns, channels).
        """
        maps, steps = Maps(), list[_Step]()
        for name in self.names:
            unpooled = x if name in POOLED_BEFORE else None
            if unpooled is not None:
                x = pool(unpooled)
            y = self.layers[name].forward(x)
            norm = self._norms.get(name)
            normalised, sums = norm.forward(y) if norm else (y, None)
            steps.append(_Step(name, unpooled, x, y, sums))
            if LEVEL_OF.get(name) in self.levels:
                maps[LEVEL_OF[name]] = normalised
            x = normalised
        return maps, steps

    def maps(self, x: FloatArray) -> Maps:
        """The levels that change, as `forward` has them, a few pictures at a time to save memory."""
        parts = [self.forward(x[start : start + AT_A_TIME])[0] for start in range(0, len(x), AT_A_TIME)]
        return {level: np.concatenate([part[level] for part in parts]) for level in self.levels}

    def backward(self, steps: list[_Step], of_maps: Maps) -> Gradients:
        """Gradients of the weights that change.

        Args:
            steps: from `forward`.
            of_maps: gradients of some levels.
        """
        found = Gradients()
        gradient: FloatArray | None = None
        for step in reversed(steps):
            own = of_maps.get(LEVEL_OF.get(step.name, ""))
            parts = [part for part in (gradient, own) if part is not None]
            if not parts:  # nothing that counts comes after
                found[step.name] = _zeros(self.layers[step.name])
                continue
            gradient = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            if step.sums is not None:
                gradient = self._norms[step.name].backward(step.y, step.sums, gradient)
            before = before_relu(step.y, gradient)
            layer = self.layers[step.name]
            found[step.name] = Weights(*layer.gradients(step.x, before))
            if step.name == self.names[0]:
                break
            gradient = layer.backward(before, step.x.shape)
            if step.before_pool is not None:
                gradient = pool_backward(step.before_pool, step.x, gradient)
        return found


def _zeros(layer: Convolution) -> Weights:
    return Weights(np.zeros_like(layer.weight), np.zeros_like(layer.bias))
