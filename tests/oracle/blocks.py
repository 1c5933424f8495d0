"""Feature maps of samples, in NumPy; sizes are the compiled trackers' own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.trackers import blocks
from edge_runtime.trackers.blocks import BlockSpec
from edge_runtime.trackers.sampling import round_half_up
from edge_runtime.types import FloatArray, Frame
from tests.oracle.colour import colour_names, grey
from tests.oracle.hog import hog
from tests.oracle.sampling import patch_of_size


class SampleLayout(blocks.SampleLayout):
    def extract(self, frame: Frame, centre: tuple[int, int], scales: Sequence[float]) -> list[FloatArray]:
        """Maps (scales, cells, cells, channels), float32, one per block, of samples around a pixel.

        Args:
            frame: (rows, columns, 3), or (rows, columns, 1) for a grey sequence.
            scales: frame pixels per sample pixel.
        """
        maps: dict[str, FloatArray] = {}
        if self._levels:
            assert self._extractor is not None
            patches = self._patches(frame, centre, scales, self.input_px)
            if patches.shape[3] == 1:
                patches = np.repeat(patches, 3, axis=3)
            found = self._extractor.extract(patches, self._levels)
            maps = dict(zip(self._levels, found, strict=True))
        if any(spec.level is None for spec in self.specs):
            support = self._patches(frame, centre, scales, self.support_px)
        return [
            central_cells(maps[spec.level], self.support_px // spec.cell_px, spec.pooling)
            if spec.level is not None
            else self._hand_crafted(spec, support)
            for spec in self.specs
        ]

    def _patches(self, frame: Frame, centre: tuple[int, int], scales: Sequence[float], px: int) -> Frame:
        return np.stack([self._cut(frame, centre, px * scale, px) for scale in scales])

    def _hand_crafted(self, spec: BlockSpec, patches: Frame) -> FloatArray:
        if spec.name == "hog":
            return hog(patches, spec.cell_px)
        if spec.name == "gray":
            return grey(patches, spec.cell_px)
        assert self._table is not None  # the tracker saw to it
        return colour_names(patches, self._table, spec.cell_px)


def cut_rounded(frame: Frame, centre: tuple[int, int], side_px: float, output_px: int) -> Frame:
    """STRCF's way, see `sampling.patch_of_size`."""
    side = max(round_half_up(side_px), 2)
    return patch_of_size(frame, centre, side, side, (output_px, output_px))


def central_cells(maps: FloatArray, cells: int, pooling: int) -> FloatArray:
    """The middle `cells * pooling` cells of (n, rows, columns, channels), averaged over `pooling` a side."""
    wanted = cells * pooling
    top, left = ((size - wanted) // 2 for size in maps.shape[1:3])
    cut = maps[:, top : top + wanted, left : left + wanted]
    if pooling == 1:
        return cut
    # Sums of slices: several times faster than a mean over two axes of six.
    rows = sum((cut[:, k::pooling] for k in range(1, pooling)), start=cut[:, ::pooling])
    both = sum((rows[:, :, k::pooling] for k in range(1, pooling)), start=rows[:, :, ::pooling])
    return np.asarray(both * np.float32(1 / pooling**2))
