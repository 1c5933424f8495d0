"""A feature extractor without a network (colour averages of cells of 8 px), and scenes to run it on."""

from __future__ import annotations

import cv2
import numpy as np

from edge_runtime.manifest import LevelInfo
from edge_runtime.types import FloatArray, Frame

CELL_PX = 8


class PixelFeatures:
    """Three channels a cell: the average colour minus the patch's average. Every level is the same."""

    def level(self, name: str) -> LevelInfo:
        return LevelInfo(name, CELL_PX, 3, (CELL_PX - 1) / 2)

    def cells(self, name: str, size_px: int) -> int:
        return size_px // CELL_PX

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        n, rows, columns = patches.shape[0], patches.shape[1] // CELL_PX, patches.shape[2] // CELL_PX
        cut = patches[:, : rows * CELL_PX, : columns * CELL_PX].astype(np.float32)
        maps = cut.reshape(n, rows, CELL_PX, columns, CELL_PX, 3).mean((2, 4))
        maps -= maps.mean((1, 2), keepdims=True)
        return (maps,) * len(levels)


def texture(rows: int, columns: int, seed: int, smooth_px: float = 3.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(rows, columns, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), smooth_px)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (smooth * 255).astype(np.uint8)


def scene(row: float, column: float, scale: float = 1.0, size: int = 48) -> np.ndarray:
    """A textured square of `size * scale` px centred at (row, column) on another texture."""
    frame = texture(240, 320, seed=1)
    target = texture(size, size, seed=2, smooth_px=4.0)
    half = (size - 1) / 2 * scale
    matrix = np.array([[scale, 0, column - half], [0, scale, row - half]])
    pasted = cv2.warpAffine(target, matrix, (320, 240))
    mask = cv2.warpAffine(np.ones((size, size), np.float32), matrix, (320, 240))[..., None]
    return (frame * (1 - mask) + pasted * mask).astype(np.uint8)
