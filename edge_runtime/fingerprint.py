"""A model's answer to a fixed picture, in a few numbers: ties weights, levels and preprocessing together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import FloatArray


def probe_pattern(size_px: int) -> NDArray[np.uint8]:
    """A fixed uint8 BGR picture (1, size_px, size_px, 3), the same on every machine.

    Coloured blocks of 4, 9 and 32 px over a ramp; no symmetry, so that a swap of axes, colours or
    channels changes every answer. Integer arithmetic only.
    """
    rows, columns, colours = np.meshgrid(
        np.arange(size_px), np.arange(size_px), np.arange(3), indexing="ij", sparse=True
    )
    picture = (2 * rows + columns * (1 + colours)) % 128
    for block_px, share in ((4, 64), (9, 32), (32, 32)):
        mixed = rows // block_px * 7919 + columns // block_px * 104729 + colours * 1299709 + block_px
        mixed = mixed * (mixed + 40503) % 65521
        picture = picture + mixed % share
    return np.asarray(picture[None], np.uint8)


def fingerprint(outputs: Sequence[FloatArray]) -> tuple[tuple[float, ...], ...]:
    """Eight mean absolute values per level, to six digits.

    Args:
        outputs: per level, dequantised float32 (1, rows, columns, channels).

    Returns:
        Per level, halves of the channels x halves of the rows x halves of the columns, channel half slowest.
    """
    return tuple(tuple(_octants(np.abs(output[0]))) for output in outputs)


def _octants(level: FloatArray) -> list[float]:
    rows, columns, channels = (size // 2 for size in level.shape)
    parts = [
        level[r, c, k]
        for k in (slice(channels), slice(channels, None))
        for r in (slice(rows), slice(rows, None))
        for c in (slice(columns), slice(columns, None))
    ]
    return [float(f"{part.mean(dtype=np.float64):.6g}") for part in parts]
