"""What ECO and STRCF share: one square sample around the target, several feature blocks of it."""

from __future__ import annotations

from typing import Literal

from edge_runtime.confidence import ConfidenceModel
from edge_runtime.features import FeatureExtractor
from edge_runtime.trackers.base import CorrelationTracker, scale_limits
from edge_runtime.trackers.blocks import BlockSpec, Cutter, SampleLayout, sample_side
from edge_runtime.trackers.settings import EcoConfig, StrcfConfig
from edge_runtime.types import FloatArray, Frame


class SampledTracker(CorrelationTracker):
    """A tracker whose sample has a size of its own, scaled to the target.

    Args:
        specs: the feature blocks.
        extractor: the network's features; None if no block needs them.
        table: colour names, see `colour.load_colour_names`; None if no block needs them.
    """

    layout = SampleLayout

    def __init__(
        self,
        config: EcoConfig | StrcfConfig,
        specs: list[BlockSpec],
        extractor: FeatureExtractor | None,
        confidence: ConfidenceModel,
        table: FloatArray | None,
    ) -> None:
        super().__init__(config.confidence, confidence)
        self._sampling, self._specs, self._extractor, self._table = config, specs, extractor, table

    def _lay_out(
        self,
        frame: Frame,
        target_px: tuple[float, float],
        *,
        scale_step: float,
        cells: Literal["more", "odd"],
        cut: Cutter,
    ) -> SampleLayout:
        """Set `scale`, its limits and `base_px` for a target of (h, w); returns its samples' layout.

        Args:
            scale_step: the limits are powers of it.
            cells: how samples grow, see `SampleLayout`.
            cut: how they are cut, see `SampleLayout`.
        """
        config = self._sampling
        areas_px = config.min_area_px, config.max_area_px
        side_px, self.scale = sample_side(target_px, config.search_scale, areas_px)
        self.base_px = target_px[0] / self.scale, target_px[1] / self.scale
        self._layout = self.layout(
            self._specs, side_px, cells=cells, cut=cut, extractor=self._extractor, table=self._table
        )
        self._limits = scale_limits(scale_step, self._layout.support_px, self.base_px, frame.shape)
        return self._layout

    def _move(self, at: tuple[int, int], displacement: tuple[float, float], px_per_cell: float) -> None:
        """Put the target `displacement` cells (rows, columns) from pixel `at`."""
        self.centre = at[0] + displacement[0] * px_per_cell, at[1] + displacement[1] * px_per_cell

    def _rescale(self, factor: float) -> None:
        """Change the target's size, within its limits."""
        self.scale = min(max(self.scale * factor, self._limits[0]), self._limits[1])
