"""A bundle's network as adaptation sees it: a part that stays, a part that changes, and their file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_runtime.adaptation.layers import Convolution, Normalisation
from edge_runtime.adaptation.network import AT_A_TIME, LEVEL_OF, AdaptedPart
from edge_runtime.adaptation.settings import AdaptedLayers
from edge_runtime.bundle import Bundle
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.features import NetworkFeatures
from edge_runtime.model_weights import Weights, read_norms, read_weights, with_weights
from edge_runtime.types import FloatArray, Frame

# The level that it starts from (None: the picture), the first convolution that changes. Between conv3's level
# and conv5 there is conv4, whose maps no model gives.
PARTS: dict[str, tuple[str | None, str]] = {
    "conv5": ("conv3", "conv5"),
    "conv3-conv5": ("middle", "conv3"),
    "all": (None, "conv1"),
}


class AdaptableNetwork:
    """See the module.

    Args:
        bundle: with a float32 model, whose weights are adapted; else the int8 model's, as it rounds them.
        dtype: of the model that tracks.
        layers: that change.
        levels: that the tracker takes; the network is adapted up to the deepest of them.

    Attributes:
        levels: those of them that change.

    Raises:
        ConfigError: no level of the tracker's changes with these layers.
        BundleError: the bundle has no such model, or it is damaged.
    """

    def __init__(self, bundle: Bundle, dtype: str, layers: AdaptedLayers, levels: tuple[str, ...]) -> None:
        manifest = bundle.manifest
        self._bundle, self._dtype = bundle, dtype
        self._level, self._first = PARTS[layers]
        self.levels = changed_levels(layers, levels)
        if not self.levels:
            raise ConfigError(
                f"the tracker takes {', '.join(levels)} of the network, which {layers} do not change",
                fix='set adapt.layers = "all", or adapt.mode = "off"',
            )
        if dtype == "int8" and not (manifest.calibration and manifest.calibration.input_means):
            raise BundleError(
                "does not tell its calibration's means", where=bundle.path, fix="export the bundle again"
            )
        model = bundle.model("float32" if "float32" in bundle.models else dtype)
        self._weights = read_weights(model)
        self._norms = {
            name.replace("norm", "conv"): Normalisation(norm.weight[:, 0, 0], norm.bias)
            for name, norm in read_norms(model).items()
        }
        self._conv4 = Convolution(self._weights["conv4"].weight, self._weights["conv4"].bias)
        self._features = NetworkFeatures(bundle, dtype) if self._level else None
        self._mean = np.zeros(3, np.float32)
        if self._level is None:
            # The picture is centred here, so that its mean does not rule conv1's gradient.
            self._mean = np.asarray(manifest.preprocessing.mean_rgb, np.float32)
            self._weights["conv1"] = moved_bias(self._weights["conv1"], self._mean)

    def part(self) -> AdaptedPart:
        """The part that changes, with the weights as they were exported."""
        last = next(name for name, level in LEVEL_OF.items() if level == self.levels[-1])
        return AdaptedPart(self._weights, self._norms, self._first, last)

    def before(self, patches: Frame) -> FloatArray:
        """What goes into it, (n, rows, columns, channels), for BGR uint8 patches (n, rows, columns, 3)."""
        if self._features is None or self._level is None:
            return patches[..., ::-1].astype(np.float32) - self._mean
        level, extract = (self._level,), self._features.extract
        # A few at a time: an interpreter holds the maps of all layers.
        parts = [
            extract(patches[start : start + AT_A_TIME], level)[0]
            for start in range(0, len(patches), AT_A_TIME)
        ]
        maps = np.concatenate(parts)
        return self._conv4.forward(maps) if self._first == "conv5" else maps

    def patched(self, weights: Mapping[str, Weights]) -> bytes:
        """The model's flatbuffer with other weights of some convolutions; the file stays as it is."""
        new = dict(weights)
        if "conv1" in new:
            new["conv1"] = moved_bias(new["conv1"], -self._mean)
        calibration = self._bundle.manifest.calibration
        means = {name: np.array(row) for name, row in calibration.input_means.items()} if calibration else {}
        return with_weights(self._bundle.model(self._dtype), new, means)


def changed_levels(layers: AdaptedLayers, levels: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the levels that change when the layers do, the deepest last."""
    convolutions = list(LEVEL_OF)
    found = [n for n in convolutions if LEVEL_OF[n] in levels and n >= PARTS[layers][1]]
    return tuple(LEVEL_OF[name] for name in found)


def moved_bias(weights: Weights, mean: FloatArray) -> Weights:
    """The same convolution for inputs that are smaller by `mean`, (in,)."""
    return Weights(weights.weight, weights.bias + (weights.weight * mean).sum((1, 2, 3)))
