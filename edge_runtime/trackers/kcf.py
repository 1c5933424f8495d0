"""KCF and fKCF: kernelised correlation filters on one feature (Henriques 2015, eqs. 16, 22, 30, 31).

A square window around the target is resized to a fixed size; the filter that maps its features to a
Gaussian is solved in closed form in the Fourier domain (`core/src/kcf.hpp`). A frame's one sample serves to
find the target and to learn it; scale, if at all, is fDSST's filter's task.
"""

from __future__ import annotations

import math

import numpy as np

from edge_runtime.confidence import ConfidenceModel
from edge_runtime.core import kernels
from edge_runtime.errors import ConfigError
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.base import MIN_TARGET_PX, CorrelationTracker
from edge_runtime.trackers.blocks import block_specs, hand_crafted_map
from edge_runtime.trackers.fourier import gaussian_label, hann_window
from edge_runtime.trackers.patches import sample_patch
from edge_runtime.trackers.scale_filter import ScaleFilter
from edge_runtime.trackers.settings import KcfConfig
from edge_runtime.types import FloatArray, Frame

# 64, 24 and 14 cells a side: enough for the level, and sizes that an FFT likes.
INPUT_PX = {"cnn:low": 133, "cnn:middle": 208, "cnn:conv3": 240, "cnn:high": 240, "hog": 128, "gray": 128}
SCALE_GRID = 1.0025  # ratio of neighbouring sizes of samples


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

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        config = self.config
        self.base_px, self.scale = target_px, 1.0
        self._window_px = config.search_scale * float(np.sqrt(target_px[0] * target_px[1]))
        maps = self._maps(frame)
        cells, _, channels = maps.shape
        if cells < 5:
            raise ConfigError(f"{config.feature} has only {cells}x{cells} cells", fix="raise input_px")
        target_cells = cells / config.search_scale
        self._filter = kernels.KcfCore(
            hann_window(cells, cells),
            gaussian_label(cells, cells, config.label_sigma * target_cells),
            channels=channels,
            ridge=config.regularisation,
            sigma=config.kernel_sigma if config.kernel == "gaussian" else 0.0,
            exclude_cells=max(2, round(target_cells / 4)),
        )
        self._filter.start(maps)
        self._scale_filter: ScaleFilter | None = None
        if config.scale_filter:
            self._scale_filter = ScaleFilter(config.scale, target_px, self.base_px)
            self._scale_filter.learn(frame, self.centre, self.scale)

    def _locate(self, frame: Frame) -> float:
        self._sample_at()
        with self._stage("features"):
            maps = self._maps(frame)
        with self._stage("response"):
            down, right, psr = self._filter.detect(maps)
        self._px_per_cell = self._spec.cell_px * self._window_px * self.scale / self._input_px
        self._sampled_at = self.centre
        self.centre = self.centre[0] + down * self._px_per_cell, self.centre[1] + right * self._px_per_cell
        if self._scale_filter is not None:
            with self._stage("scale"):
                factor = self._scale_filter.locate(frame, self.centre, self.scale)
            self.scale = self._limited_scale(self.scale * factor)
        return float(psr)

    def _learn(self, frame: Frame) -> None:
        """From the maps that it was found in, moved to where it was found: the network runs once a frame."""
        with self._stage("training"):
            down = (self.centre[0] - self._sampled_at[0]) / self._px_per_cell
            right = (self.centre[1] - self._sampled_at[1]) / self._px_per_cell
            self._filter.learn(down, right, self.config.learning_rate)
        if self._scale_filter is not None:
            with self._stage("scale"):
                self._scale_filter.learn(frame, self.centre, on_grid(self.scale))

    def _sample_at(self) -> None:
        """Samples are centred on whole pixels and have sizes of a fine grid.

        So a displacement's or size's last bit, which differs between processors, changes no pixel of them.
        """
        row, column = self._pixel()
        self.centre = float(row), float(column)
        self.scale = on_grid(self.scale)

    def _limited_scale(self, scale: float) -> float:
        """Keep the target between a few pixels and the frame."""
        least = MIN_TARGET_PX / min(self.base_px)
        rows, columns = self._frame_shape[:2]
        most = max(min(rows / self.base_px[0], columns / self.base_px[1]), 1.0)
        return min(max(scale, min(least, 1.0)), most)

    def _maps(self, frame: Frame) -> FloatArray:
        """Features of the window around the current centre: (cells, cells, channels) float32."""
        patch = sample_patch(frame, self.centre, self._window_px * self.scale, self._input_px)[None]
        if self._spec.level is None:
            maps = hand_crafted_map(self._spec, patch, None)
        else:
            assert self._extractor is not None  # block_specs saw to it
            if patch.shape[3] == 1:
                patch = np.repeat(patch, 3, axis=3)
            (maps,) = self._extractor.extract(patch, (self._spec.level,))
        return np.ascontiguousarray(maps).reshape(maps.shape[1:])


def on_grid(scale: float) -> float:
    """The nearest power of `SCALE_GRID`."""
    return float(SCALE_GRID ** round(math.log(scale, SCALE_GRID)))
