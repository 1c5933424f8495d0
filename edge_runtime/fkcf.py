"""fKCF: a linear multi-channel correlation filter on one CNN level (Henriques 2015, eqs. 16, 22, 31).

A square window around the target goes through the network; the filter that maps its features to a
Gaussian is solved in closed form in the Fourier domain. Scale is searched with a few windows of
other sizes in the same batched network call.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.confidence import ConfidenceConfig, ConfidenceModel, RunningLog, StateMachine
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.features import FeatureExtractor
from edge_runtime.fourier import (
    gaussian_label,
    hann_window,
    irfft2,
    peak,
    peak_to_sidelobe_ratio,
    rfft2,
    vertex,
)
from edge_runtime.patches import sample_scales
from edge_runtime.types import Box, ComplexArray, FloatArray, Frame, TrackResult, check_box

MIN_TARGET_PX = 4.0
# 64, 24 and 14 cells a side: enough for the level, and sizes that an FFT likes.
INPUT_PX = {"low": 133, "middle": 208, "high": 240}


@dataclass(frozen=True)
class FkcfConfig:
    """Settings of fKCF.

    Attributes:
        level: feature level of the bundle.
        search_scale: side of the search window over sqrt(target area).
        input_px: side of the network's input, px; 0 takes what suits the level (`INPUT_PX`).
        label_sigma: deviation of the Gaussian label over sqrt(target area).
        regularisation: ridge term, for features of unit mean square.
        learning_rate: share of the new frame in the model.
        scales: number of window sizes searched in each frame, odd; 1 keeps the size fixed.
        scale_step: ratio of neighbouring sizes.
        scale_penalty: factor on the response of sizes other than the last one.
        scale_damping: share of the measured change of size that is taken over.
    """

    level: str = "middle"
    search_scale: float = 3.0
    input_px: int = 0
    label_sigma: float = 0.125
    regularisation: float = 1e-4
    learning_rate: float = 0.02
    scales: int = 3
    scale_step: float = 1.02
    scale_penalty: float = 0.985
    scale_damping: float = 0.7
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)

    def __post_init__(self) -> None:
        checks = {
            "search_scale": 1.2 <= self.search_scale <= 8,
            "input_px": self.input_px == 0 or 64 <= self.input_px <= 512,
            "label_sigma": 0.01 <= self.label_sigma <= 1,
            "regularisation": 0 < self.regularisation <= 10,
            "learning_rate": 0 <= self.learning_rate <= 1,
            "scales": 1 <= self.scales <= 9 and self.scales % 2 == 1,
            "scale_step": 1.001 <= self.scale_step <= 1.5,
            "scale_penalty": 0.5 <= self.scale_penalty <= 1,
            "scale_damping": 0 < self.scale_damping <= 1,
        }
        for name, in_range in checks.items():
            if not in_range:
                raise ConfigError(f"tracker.fkcf.{name} = {getattr(self, name)} is out of range")


class LinearFilter:
    """The ridge regression from feature maps to a label, for one target.

    Template and dual coefficients are averaged over time separately, as in KCF.

    Args:
        label: (rows, columns) float32, see `gaussian_label`.
        regularisation: added to the mean energy spectrum.
    """

    def __init__(self, label: FloatArray, regularisation: float) -> None:
        self.shape = label.shape
        self._label = rfft2(label)
        self._regularisation = regularisation
        self._template: ComplexArray | None = None
        self._dual: ComplexArray | None = None

    def learn(self, features: FloatArray, rate: float) -> None:
        """Blend in a sample (channels, rows, columns), windowed, the target at its centre."""
        spectrum = rfft2(features)
        energy = (spectrum.real**2 + spectrum.imag**2).sum(0) / features.size
        dual = self._label / (energy + self._regularisation)
        if self._template is None or self._dual is None:
            self._template, self._dual = spectrum, dual
        else:
            self._template += np.float32(rate) * (spectrum - self._template)
            self._dual += np.float32(rate) * (dual - self._dual)

    def respond(self, features: FloatArray) -> FloatArray:
        """Response maps (n, rows, columns) to windowed samples (n, channels, rows, columns)."""
        assert self._template is not None and self._dual is not None, "learn() comes first"
        correlation = np.einsum("chw,nchw->nhw", self._template.conj(), rfft2(features))
        correlation *= self._dual / np.float32(self._template.shape[0] * self.shape[0] * self.shape[1])
        return irfft2(correlation, *self.shape)


class FkcfTracker:
    """A `Tracker`; see `FkcfConfig`.

    Raises:
        ConfigError: the bundle has no such level, or its map at `input_px` is under 5 cells.
    """

    def __init__(
        self, config: FkcfConfig, extractor: FeatureExtractor, confidence: ConfidenceModel | None = None
    ) -> None:
        self.config, self.extractor = config, extractor
        self._level = extractor.level(config.level)
        self._input_px = config.input_px or INPUT_PX.get(config.level, 208)
        self._confidence = confidence or CONFIDENCE_MODELS.get(config.level, CONFIDENCE_MODELS["middle"])
        half = config.scales // 2
        self._factors = [config.scale_step**k for k in range(-half, half + 1)]
        self._penalties = np.array([1.0 if k == half else config.scale_penalty for k in range(config.scales)])
        self._filter: LinearFilter | None = None

    def init(self, image: Frame, box: Box) -> None:
        """Start, or start again, on `box` in `image`. Raises `BoxError` on an unusable box."""
        box = check_box(box, image.shape)
        self._frame_shape = image.shape
        self._centre = box.centre
        self._size = (max(box.h, MIN_TARGET_PX), max(box.w, MIN_TARGET_PX))
        self._window_px = self.config.search_scale * math.sqrt(self._size[0] * self._size[1])
        self._scale = 1.0
        self._states = StateMachine(self.config.confidence)
        self._usual_psr = RunningLog()
        features = self._raw_features(image, [1.0])
        rows, columns = features.shape[2:]
        if min(rows, columns) < 5:
            raise ConfigError(
                f"level {self.config.level} has only {rows}x{columns} cells", fix="raise input_px"
            )
        window = hann_window(rows, columns)
        root_mean_square = float(np.sqrt(np.mean((features * window) ** 2)))
        # Window and normalisation in one factor, the target's for good: (rows, columns) float32.
        self._weight = window * np.float32(1.0 / max(root_mean_square, 1e-12))
        target_cells = rows / self.config.search_scale
        label = gaussian_label(rows, columns, self.config.label_sigma * target_cells)
        self._exclude_cells = max(2, round(target_cells / 4))
        self._filter = LinearFilter(label, self.config.regularisation)
        self._filter.learn((features * self._weight)[0], 1.0)

    def update(self, image: Frame) -> TrackResult:
        """Find the target in the next frame. Raises `SourceError` if the frame size changed."""
        start = time.perf_counter()
        if self._filter is None:
            raise SourceError("update() before init()", fix="start the tracker on a box first")
        size_before = self._scale
        psr = self._locate(image)
        score = self._confidence(psr, self._usual_psr.before(psr))
        state = self._states.update(score)
        if self._states.may_learn:
            self._learn(image, psr)
        else:
            self._scale = size_before  # a target that is not there does not tell its size
        latency_ms = (time.perf_counter() - start) * 1e3
        return TrackResult(self._box(), score, psr, state, latency_ms)

    def _learn(self, image: Frame, psr: float) -> None:
        if self.config.learning_rate > 0:
            assert self._filter is not None
            self._usual_psr.add(psr)
            sample = (self._raw_features(image, [1.0]) * self._weight)[0]
            self._filter.learn(sample, self.config.learning_rate)

    def _locate(self, image: Frame) -> float:
        """Move to the best of all sizes' peaks; returns that response's peak-to-sidelobe ratio."""
        if image.shape != self._frame_shape:
            before, now = (f"{shape[1]}x{shape[0]}" for shape in (self._frame_shape, image.shape))
            raise SourceError(f"frame size changed from {before} to {now}", fix="start the tracker again")
        assert self._filter is not None
        responses = self._filter.respond(self._raw_features(image, self._factors) * self._weight)
        heights = responses.max((1, 2)) * self._penalties
        best = int(heights.argmax())
        down, right = peak(responses[best])
        psr = peak_to_sidelobe_ratio(responses[best], self._exclude_cells)
        factor = self._factors[best]
        px_per_cell = self._level.stride * self._window_px * self._scale * factor / self._input_px
        rows, columns = self._frame_shape[:2]
        self._centre = (
            float(np.clip(self._centre[0] + down * px_per_cell, 0, rows - 1)),
            float(np.clip(self._centre[1] + right * px_per_cell, 0, columns - 1)),
        )
        if 0 < best < len(heights) - 1:
            # A slow change of size stays below one step, and the model would learn it away.
            factor *= self.config.scale_step ** vertex(*heights[best - 1 : best + 2])
        self._scale = self._limited_scale(self._scale * factor**self.config.scale_damping)
        return psr

    def _limited_scale(self, scale: float) -> float:
        """Keep the target between a few pixels and the frame."""
        least = MIN_TARGET_PX / min(self._size)
        most = max(min(self._frame_shape[0] / self._size[0], self._frame_shape[1] / self._size[1]), 1.0)
        return min(max(scale, min(least, 1.0)), most)

    def _raw_features(self, image: Frame, factors: list[float]) -> FloatArray:
        """float32 (n, channels, rows, columns) around the current centre, one window size per factor."""
        sides = [self._window_px * self._scale * factor for factor in factors]
        patches = sample_scales(image, self._centre, sides, self._input_px)
        maps = self.extractor.extract(patches, self.config.level)
        return np.ascontiguousarray(maps.transpose(0, 3, 1, 2))

    def _box(self) -> Box:
        height, width = self._size[0] * self._scale, self._size[1] * self._scale
        return Box.from_centre(*self._centre, width, height)


# Fitted by benchmarks/fit_confidence.py on the development sequences.
CONFIDENCE_MODELS = {
    "low": ConfidenceModel(psr_half=5.9, slope=3.6, drop_slope=3.2),
    "middle": ConfidenceModel(psr_half=6.6, slope=3.3, drop_slope=2.7),
    "high": ConfidenceModel(psr_half=11.0, slope=3.2, drop_slope=2.0),
}
