"""A feature extractor without a network: colour averages of cells of 8 px."""

from __future__ import annotations

import numpy as np

from edge_runtime.manifest import LevelInfo
from edge_runtime.types import FloatArray, Frame

CELL_PX = 8


class PixelFeatures:
    """Three channels a cell: the average colour minus the patch's average."""

    def level(self, name: str) -> LevelInfo:
        return LevelInfo(name, CELL_PX, 3, (CELL_PX - 1) / 2)

    def extract(self, patches: Frame, level: str) -> FloatArray:
        n, side = patches.shape[:2]
        cells = side // CELL_PX
        cut = patches[:, : cells * CELL_PX, : cells * CELL_PX].astype(np.float32)
        maps = cut.reshape(n, cells, CELL_PX, cells, CELL_PX, 3).mean((2, 4))
        return maps - maps.mean((1, 2), keepdims=True)
