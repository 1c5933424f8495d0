"""What makes a pair harder: something in front of part of the target, or something else beside it."""

from __future__ import annotations

import math

import cv2
import numpy as np

from edge_runtime.types import FloatArray, Frame

SOFT_EDGE = 0.06  # of the pasted thing's size
PLACE_DRAWS = 10


def occlude(crop: Frame, thing: Frame, target: tuple[float, ...], rng: np.random.Generator) -> Frame:
    """Paste `thing` over a part of the target: 0.4 to 0.8 of its height and width, its centre inside.

    Args:
        crop: uint8 BGR.
        thing: uint8 BGR, a square picture of any size.
        target: row and column of the centre, rows and columns of the target, in px of the crop.
    """
    row, column, rows, columns = target
    h, w = (rng.uniform(0.4, 0.8, 2) * (rows, columns)).tolist()
    down, across = (rng.uniform(-0.5, 0.5, 2) * (rows, columns)).tolist()
    return _paste(crop, thing, (row + down, column + across), (h, w), rng.random() < 0.5)


def distract(crop: Frame, thing: Frame, target: tuple[float, ...], rng: np.random.Generator) -> Frame:
    """Paste `thing` beside the target, in about its size: 1.1 to 1.8 targets away, inside the crop."""
    row, column, rows, columns = target
    size = rng.uniform(0.8, 1.0)
    for _ in range(PLACE_DRAWS):
        angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(1.1, 1.8)
        # On the outline of a box, so that it does not cover the target whichever way it is long.
        reach = distance / max(abs(math.sin(angle)), abs(math.cos(angle)))
        place = row + reach * rows * math.sin(angle), column + reach * columns * math.cos(angle)
        if 0 <= place[0] < len(crop) and 0 <= place[1] < crop.shape[1]:
            break
    return _paste(crop, thing, place, (size * rows, size * columns), True)


def _paste(
    crop: Frame, thing: Frame, centre: tuple[float, float], size: tuple[float, float], oval: bool
) -> Frame:
    """`thing` at a centre, resized to (rows, columns), as an ellipse or a rectangle with soft edges."""
    rows, columns = (max(2, round(s)) for s in size)
    top, left = round(centre[0] - rows / 2), round(centre[1] - columns / 2)
    first_row, first_column = max(0, -top), max(0, -left)
    last_row, last_column = min(rows, len(crop) - top), min(columns, crop.shape[1] - left)
    if first_row >= last_row or first_column >= last_column:
        return crop
    small = cv2.resize(thing, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    inner = np.s_[first_row:last_row, first_column:last_column]
    mask = _mask(rows, columns, oval)[inner][..., None]
    pasted = crop.copy()
    place = pasted[top + first_row : top + last_row, left + first_column : left + last_column]
    place[:] = np.rint(place + mask * (small[inner] - place))
    return pasted


def _mask(rows: int, columns: int, oval: bool) -> FloatArray:
    """1 inside, 0 outside, (rows, columns): softened inwards, so that nothing reaches beyond."""
    down = np.abs((np.arange(rows, dtype=np.float32) + 0.5) / rows * 2 - 1)[:, None]
    across = np.abs((np.arange(columns, dtype=np.float32) + 0.5) / columns * 2 - 1)[None]
    outwards = np.hypot(down, across) if oval else np.maximum(down, across)
    return np.asarray(np.clip((1 - outwards) / (2 * SOFT_EDGE), 0, 1), np.float32)
