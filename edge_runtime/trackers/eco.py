"""fECO and ECO-HC: efficient convolution operators (Danelljan 2017, CVPR)."""

from __future__ import annotations

import math

from edge_runtime.confidence import ConfidenceModel
from edge_runtime.errors import ConfigError
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.blocks import block_specs, channels_innermost
from edge_runtime.trackers.eco_filter import EcoFilter
from edge_runtime.trackers.sampled import SampledTracker
from edge_runtime.trackers.sampling import decimated_patch
from edge_runtime.trackers.scale_filter import ScaleFilter
from edge_runtime.trackers.settings import EcoConfig
from edge_runtime.types import FloatArray, Frame


class EcoTracker(SampledTracker):
    """A `Tracker`; see `EcoConfig` and `SampledTracker`.

    Raises:
        ConfigError: a block has more output than input channels, or what it needs is missing.
    """

    def __init__(
        self,
        config: EcoConfig,
        extractor: FeatureExtractor | None,
        confidence: ConfidenceModel,
        table: FloatArray | None = None,
    ) -> None:
        cell_px = config.hand_crafted_cell_px
        specs = block_specs(config.features, config.pooling, cell_px, extractor, table)
        super().__init__(config, specs, extractor, confidence, table)
        self.config = config
        for spec, channels in zip(specs, config.channels, strict=True):
            if channels > spec.channels:
                raise ConfigError(
                    f"tracker.eco.channels = {channels} for {spec.name}, which has {spec.channels}",
                    fix=f"use at most {spec.channels}",
                )

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        config = self.config
        layout = self._lay_out(
            frame, target_px, scale_step=config.scale.step, cells="odd", cut=decimated_patch
        )
        channels = [spec.channels for spec in layout.specs]
        self._filter = EcoFilter(config, layout.cells, channels, layout.support_px, self.base_px)
        self._exclude_cells = self._sidelobe_margin(layout.support_px, self._filter.output_size)
        at = self._pixel()
        maps = self._maps(frame, at)
        self._filter.learn_first(maps, self._shift(at, self.scale))
        self._scale_filter = ScaleFilter(config.scale, target_px, self.base_px)
        self._scale_filter.learn(frame, self.centre, self.scale)
        self._frame, self._since_training = 1, 0

    def _locate(self, frame: Frame) -> float:
        at = self._pixel()
        with self._stage("features"):
            maps = self._maps(frame, at)
        core = self._filter.core
        with self._stage("series"):
            core.series(maps)
        with self._stage("response"):
            down, across, psr = core.locate(self.config.newton_iterations, self._exclude_cells)
        px_per_cell = self._layout.support_px / self._filter.output_size * self.scale
        self._move(at, (down, across), px_per_cell)
        self._sampled = at, self.scale
        with self._stage("scale"):
            self._rescale(self._scale_filter.locate(frame, self.centre, self.scale))
        return float(psr)

    def _learn(self, frame: Frame) -> None:
        with self._stage("samples"):
            self._filter.core.remember(*self._shift(*self._sampled))
        self._frame += 1
        due = self._since_training >= self.config.train_every - 1
        if due or self._frame < self.config.train_always_before:
            with self._stage("training"):
                self._filter.core.train()
        self._since_training = 0 if due else self._since_training + 1
        with self._stage("scale"):
            self._scale_filter.learn(frame, self.centre, self.scale)

    def _maps(self, frame: Frame, at: tuple[int, int]) -> list[FloatArray]:
        """(cells, cells, channels), one per block."""
        return [channels_innermost(m[0]) for m in self._layout.extract(frame, at, [self.scale])]

    def _shift(self, at: tuple[int, int], scale: float) -> tuple[float, float]:
        """The target's place relative to pixel `at`, in radians of the sample's period."""
        per_px = 2 * math.pi / (scale * self._layout.support_px)
        return (self.centre[0] - at[0]) * per_px, (self.centre[1] - at[1]) * per_px
