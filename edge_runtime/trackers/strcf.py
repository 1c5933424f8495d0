"""fDeepSTRCF and STRCF: spatial-temporal regularised correlation filters (Li 2018, CVPR)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edge_runtime.confidence import ConfidenceModel
from edge_runtime.core import kernels
from edge_runtime.errors import ConfigError
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.blocks import block_specs, channels_innermost, cut_rounded
from edge_runtime.trackers.fourier import gaussian_label
from edge_runtime.trackers.regularisation import target_window
from edge_runtime.trackers.sampled import SampledTracker
from edge_runtime.trackers.settings import StrcfConfig
from edge_runtime.types import FloatArray, Frame


class StrcfTracker(SampledTracker):
    """A `Tracker`; see `StrcfConfig` and `SampledTracker`.

    Raises:
        ConfigError: settings per group do not fit the features, or what they need is missing.
    """

    def __init__(
        self,
        config: StrcfConfig,
        extractor: FeatureExtractor | None,
        confidence: ConfidenceModel,
        table: FloatArray | None = None,
    ) -> None:
        pooling = (1,) * len(config.features)
        specs = block_specs(config.features, pooling, config.hand_crafted_cell_px, extractor, table)
        super().__init__(config, specs, extractor, confidence, table)
        self.config = config
        self._cells_px = sorted({spec.cell_px for spec in specs})
        self._groups = [[b for b, s in enumerate(specs) if s.cell_px == cell] for cell in self._cells_px]
        if len(self._groups) != len(config.temporal):
            raise ConfigError(
                f"tracker.strcf.features form {len(self._groups)} groups of equal cells, temporal and "
                f"window_cells_px have {len(config.temporal)} values",
                fix="give one value per group",
            )
        half = config.scales // 2
        self._factors = [config.scale_step**k for k in range(-half, half + 1)]

    def _start(self, frame: Frame, target_px: tuple[float, float]) -> None:
        config = self.config
        layout = self._lay_out(frame, target_px, scale_step=config.scale_step, cells="more", cut=cut_rounded)
        self._output_size = layout.support_px // self._cells_px[0]
        self._filter = kernels.Strcf(
            scales=config.scales,
            newton_iterations=config.newton_iterations,
            exclude_cells=self._sidelobe_margin(layout.support_px, self._output_size),
            iterations=config.iterations,
            penalty=config.penalty,
            penalty_growth=config.penalty_growth,
            penalty_most=config.penalty_most,
        )
        for group in range(len(self._groups)):
            self._add_group(group)
        self._learn(frame)

    def _add_group(self, group: int) -> None:
        config, cell = self.config, self._cells_px[group]
        size = self._layout.support_px // cell
        cells = math.prod(math.floor(px / cell) for px in self.base_px)
        # A target of under one cell still has a label and a rectangle of one.
        label = gaussian_label(size, size, math.sqrt(max(cells, 1)) * config.label_sigma)
        spectrum = np.fft.rfft2(label)
        rows, columns = (max(math.floor(px / config.window_cells_px[group]), 1) for px in self.base_px)
        specs = [self._specs[b] for b in self._groups[group]]
        self._filter.add_group(
            channels=[spec.channels for spec in specs],
            unit_range=[spec.level is not None for spec in specs],
            window=np.outer(np.hanning(size), np.hanning(size)).astype(np.float32),
            weight=target_window((size, size), (rows, columns), config.window_inside, config.window_outside),
            label=np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32),
            temporal=config.temporal[group],
        )

    def _locate(self, frame: Frame) -> float:
        at = self._pixel()
        maps = self._maps(frame, at, [self.scale * factor for factor in self._factors])
        with self._stage("response"):
            down, across, _, psr, best = self._filter.detect(maps)
        factor = self._factors[best]
        self._move(at, (down, across), self._layout.support_px / self._output_size * self.scale * factor)
        self._rescale(factor)
        return float(psr)

    def _learn(self, frame: Frame) -> None:
        maps = self._maps(frame, self._pixel(), [self.scale])
        with self._stage("training"):
            self._filter.learn(maps)

    def _maps(self, frame: Frame, at: tuple[int, int], scales: Sequence[float]) -> list[FloatArray]:
        """Maps (scales, cells, cells, channels), one per block, group by group."""
        with self._stage("features"):
            maps = self._layout.extract(frame, at, scales)
            return [channels_innermost(maps[b]) for group in self._groups for b in group]
