"""Feature maps of patches: the part of a tracker that knows about networks."""

from __future__ import annotations

from typing import Protocol

from edge_runtime.bundle import Bundle
from edge_runtime.interpreter import Interpreter, dequantise
from edge_runtime.manifest import LevelInfo
from edge_runtime.preprocess import Preprocessor
from edge_runtime.types import FloatArray, Frame


class FeatureExtractor(Protocol):
    """Anything that turns patches into maps of one level."""

    def level(self, name: str) -> LevelInfo:
        """The level's stride, channels and geometry. Raises `ConfigError` on an unknown name."""

    def extract(self, patches: Frame, level: str) -> FloatArray:
        """Maps (n, rows, columns, channels), float32, of BGR uint8 patches (n, side, side, 3)."""


class NetworkFeatures:
    """A bundle's network in one dtype; one interpreter per batch and input size.

    Raises:
        BundleError: the bundle has no model of that dtype.
        InterpreterError: no runtime, or it refuses the model.
    """

    def __init__(self, bundle: Bundle, dtype: str) -> None:
        self.bundle, self.dtype = bundle, dtype
        self._model = bundle.model(dtype)
        info = bundle.manifest.models[dtype]
        self._preprocess = Preprocessor(bundle.manifest.preprocessing, bundle.mean_image, info.input)
        self._interpreters: dict[tuple[int, int], Interpreter] = {}

    def level(self, name: str) -> LevelInfo:
        """The level's stride, channels and geometry. Raises `ConfigError` on an unknown name."""
        return self.bundle.level(name)

    def extract(self, patches: Frame, level: str) -> FloatArray:
        """Maps (n, rows, columns, channels), float32, of BGR uint8 patches (n, side, side, 3)."""
        index = self.bundle.manifest.levels.index(self.bundle.level(level))
        interpreter = self._interpreter(patches.shape[0], patches.shape[1])
        (raw,) = interpreter.invoke(self._preprocess(patches), wanted=(index,))
        return dequantise(raw, interpreter.outputs[index])

    def _interpreter(self, batch: int, side_px: int) -> Interpreter:
        key = (batch, side_px)
        if key not in self._interpreters:
            self._interpreters[key] = Interpreter(self._model, (batch, side_px, side_px, 3))
        return self._interpreters[key]
