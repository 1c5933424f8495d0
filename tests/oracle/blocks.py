"""Feature maps of samples, in NumPy; sizes are the compiled trackers' own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_runtime.trackers import blocks
from edge_runtime.trackers.sampling import round_half_up
from edge_runtime.types import FloatArray, Frame
from tests.oracle.colour import colour_names, grey
from tests.oracle.hog import hog
from tests.oracle.sampling import patch_of_size


class SampleLayout(blocks.SampleLayout):
    """The compiled trackers' layout; each map of a sample is made by NumPy."""

    def _patches(self, frame: Frame, centre: tuple[int, int], scales: Sequence[float], px: int) -> Frame:
        return np.stack([self._cut(frame, centre, px * scale, px) for scale in scales])

    def _hand_crafted(self, block: int, patches: Frame) -> FloatArray:
        spec = self.specs[block]
        if spec.name == "hog":
            return hog(patches, spec.cell_px)
        if spec.name == "gray":
            return grey(patches, spec.cell_px)
        return colour_names(patches, self._table, spec.cell_px)

    def _central(self, maps: FloatArray, block: int) -> FloatArray:
        return central_cells(maps, self.cells[block], self.specs[block].pooling)


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
