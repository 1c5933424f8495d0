"""KCF and fKCF: kernelised correlation filters on one feature (Henriques 2015, eqs. 16, 22, 30, 31).

A square window around the target is resized to a fixed size; the filter that maps its features to a
Gaussian is solved in closed form in the Fourier domain. Scale, if at all, is searched with a few windows
of other sizes in the same batch.
"""

from __future__ import annotations

import numpy as np

from edge_runtime.confidence import ConfidenceModel
from edge_runtime.errors import ConfigError
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.base import MIN_TARGET_PX, CorrelationTracker
from edge_runtime.trackers.settings import KcfConfig
from edge_runtime.types import ComplexArray, FloatArray, Frame
from tests.oracle.blocks import BlockSpec, block_specs
from tests.oracle.colour import grey
from tests.oracle.fourier import (
    gaussian_label,
    hann_window,
    irfft2,
    peak,
    peak_to_sidelobe_ratio,
    rfft2,
    vertex,
)
from tests.oracle.hog import hog
from tests.oracle.patches import sample_scales

# 64, 24 and 14 cells a side: enough for the level, and sizes that an FFT likes.
INPUT_PX = {"cnn:low": 133, "cnn:middle": 208, "cnn:conv3": 240, "cnn:high": 240, "hog": 128, "gray": 128}


class KernelFilter:
    """The ridge regression from feature maps to a label, for one target.

    Template and dual coefficients are averaged over time separately, as in KCF.

    Args:
        label: (rows, columns) float32, see `gaussian_label`.
        regularisation: ridge term.
        sigma: deviation of the Gaussian kernel, or None for the linear one.
    """

    def __init__(self, label: FloatArray, regularisation: float, sigma: float | None = None) -> None:
        self.shape = label.shape
        self._label = rfft2(label)
        self._regularisation, self._sigma = regularisation, sigma
        self._template: ComplexArray | None = None
        self._dual: ComplexArray | None = None

    def learn(self, features: FloatArray, rate: float) -> None:
        """Blend in a sample (channels, rows, columns), windowed, the target at its centre."""
        spectrum = rfft2(features)
        dual = self._label / (self._kernel(spectrum, spectrum[None])[0] + np.float32(self._regularisation))
        if self._template is None or self._dual is None:
            self._template, self._dual = spectrum, dual
        else:
            self._template += np.float32(rate) * (spectrum - self._template)
            self._dual += np.float32(rate) * (dual - self._dual)

    def respond(self, features: FloatArray) -> FloatArray:
        """Response maps (n, rows, columns) to windowed samples (n, channels, rows, columns)."""
        assert self._template is not None and self._dual is not None, "learn() comes first"
        return irfft2(self._kernel(self._template, rfft2(features)) * self._dual, *self.shape)

    def _kernel(self, x: ComplexArray, z: ComplexArray) -> ComplexArray:
        """Spectra (n, rows, stored columns) of the kernel between all shifts of x and each z.

        Linear: sum_d x_d . z_d / N, N being the number of values of x. Gaussian:
        exp(-max(0, |x|^2 + |z|^2 - 2 x . z) / (sigma^2 N)).
        """
        count = np.float32(x.shape[0] * self.shape[0] * self.shape[1])
        product: ComplexArray = np.einsum("chw,nchw->nhw", x.conj(), z) / count
        if self._sigma is None:
            return product
        energies = self._energy(x) + self._energy(z)
        distance = energies[:, None, None] / count - 2 * irfft2(product, *self.shape)
        return rfft2(np.exp(-np.maximum(distance, 0) / np.float32(self._sigma**2)))

    def _energy(self, spectra: ComplexArray) -> FloatArray:
        """|x|^2 of the maps behind half spectra (…, channels, rows, stored columns), by Parseval."""
        squares = spectra.real**2 + spectra.imag**2
        once = squares[..., 0].sum((-2, -1))
        if self.shape[1] % 2 == 0:
            once = once + squares[..., -1].sum((-2, -1))
        total: FloatArray = (2 * squares.sum((-3, -2, -1)) - once) / np.float32(self.shape[0] * self.shape[1])
        return total


class KcfTracker(CorrelationTracker):
    """A `Tracker`; see `KcfConfig`.

    Raises:
        ConfigError: the bundle has no such level, there is no bundle, or the map has under 5 cells.
    """

    def __init__(
        self, config: KcfConfig, extractor: FeatureExtractor | None, confidence: ConfidenceModel
    ) -> None:
        super().__init__(config.confidence, confidence)
        self.config, self._extractor = config, extractor
        if config.feature == "cn":
            raise ConfigError(
                "tracker.kcf.feature = 'cn' is not supported", fix="use cnn:<level>, hog or gray"
            )
        (self._spec,) = block_specs([config.feature], [1], config.hand_crafted_cell_px, extractor)
        self._input_px = config.input_px or INPUT_PX.get(config.feature, 208)
        half = config.scales // 2
        self._factors = [config.scale_step**k for k in range(-half, half + 1)]
        self._penalties = np.array([1.0 if k == half else config.scale_penalty for k in range(config.scales)])

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        self.base_px, self.scale = target_px, 1.0
        self._window_px = self.config.search_scale * float(np.sqrt(target_px[0] * target_px[1]))
        features = self._raw_features(frame, [1.0])
        rows, columns = features.shape[2:]
        if min(rows, columns) < 5:
            raise ConfigError(f"{self.config.feature} has only {rows}x{columns} cells", fix="raise input_px")
        window = hann_window(rows, columns)
        root_mean_square = float(np.sqrt(np.mean((features * window) ** 2)))
        # Window and normalisation in one factor, the target's for good: (rows, columns) float32.
        self._weight = window * np.float32(1.0 / max(root_mean_square, 1e-12))
        target_cells = rows / self.config.search_scale
        label = gaussian_label(rows, columns, self.config.label_sigma * target_cells)
        self._exclude_cells = max(2, round(target_cells / 4))
        sigma = self.config.kernel_sigma if self.config.kernel == "gaussian" else None
        self._filter = KernelFilter(label, self.config.regularisation, sigma)
        self._filter.learn((features * self._weight)[0], 1.0)

    def _locate(self, frame: Frame) -> float:
        """Move to the best of all sizes' peaks."""
        features = self._raw_features(frame, self._factors) * self._weight
        with self._stage("response"):
            responses = self._filter.respond(features)
            heights = responses.max((1, 2)) * self._penalties
            best = int(heights.argmax())
            down, right = peak(responses[best])
            psr = peak_to_sidelobe_ratio(responses[best], self._exclude_cells)
        factor = self._factors[best]
        px_per_cell = self._spec.cell_px * self._window_px * self.scale * factor / self._input_px
        self.centre = self.centre[0] + down * px_per_cell, self.centre[1] + right * px_per_cell
        if 0 < best < len(heights) - 1:
            # A slow change of size stays below one step, and the model would learn it away.
            factor *= self.config.scale_step ** vertex(*heights[best - 1 : best + 2])
        self.scale = self._limited_scale(self.scale * factor**self.config.scale_damping)
        return psr

    def _learn(self, frame: Frame) -> None:
        if self.config.learning_rate > 0:
            sample = (self._raw_features(frame, [1.0]) * self._weight)[0]
            with self._stage("training"):
                self._filter.learn(sample, self.config.learning_rate)

    def _limited_scale(self, scale: float) -> float:
        """Keep the target between a few pixels and the frame."""
        least = MIN_TARGET_PX / min(self.base_px)
        rows, columns = self._frame_shape[:2]
        most = max(min(rows / self.base_px[0], columns / self.base_px[1]), 1.0)
        return min(max(scale, min(least, 1.0)), most)

    def _raw_features(self, frame: Frame, factors: list[float]) -> FloatArray:
        """float32 (n, channels, rows, columns) around the current centre, one window size per factor."""
        with self._stage("features"):
            sides = [self._window_px * self.scale * factor for factor in factors]
            patches = sample_scales(frame, self.centre, sides, self._input_px)
            return np.ascontiguousarray(_maps(self._spec, patches, self._extractor).transpose(0, 3, 1, 2))


def _maps(spec: BlockSpec, patches: Frame, extractor: FeatureExtractor | None) -> FloatArray:
    """Feature maps (n, rows, columns, channels) of patches (n, side, side, 3 or 1)."""
    if spec.level is None:
        return hog(patches, spec.cell_px) if spec.name == "hog" else grey(patches, spec.cell_px)
    assert extractor is not None  # block_specs saw to it
    if patches.shape[3] == 1:
        patches = np.repeat(patches, 3, axis=3)
    return extractor.extract(patches, (spec.level,))[0]
