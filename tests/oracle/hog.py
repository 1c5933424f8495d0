"""Histograms of oriented gradients, 31 channels (Felzenszwalb 2010, TPAMI, section 6; Dollar's `fhog`)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import cv2
import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from edge_runtime.types import FloatArray, Frame

ORIENTATIONS = 9
SIGNED = 2 * ORIENTATIONS
CHANNELS = SIGNED + ORIENTATIONS + 4
CLIP = 0.2
TEXTURE_WEIGHT = 0.2357
# `fhog` evens out that the cells at the border get 7/8 of the weight of those inside (at a cell of 4 px).
BORDER_GAIN = 8 / 7
# Twice a gradient of 8-bit values: at most 255 inside, where differences span two pixels, 510 at the border.
LARGEST = 510
WIDTH = 2 * LARGEST + 1


class Spreading(NamedTuple):
    """How the pixels of patches of one size are spread over the cells.

    A pixel lies between four cells (some of them perhaps outside the grid). `places` (n, rows, columns) is
    the one below right, as index into a grid (n, down + 1, across + 1). `weights` (pixels, 4) are those of
    the cells above left, above right, below left and below right: half a bilinear weight over the area of a
    cell, as lengths come doubled. `starts` is 0, 1, … pixels.
    """

    places: NDArray[np.int32]
    weights: FloatArray
    starts: NDArray[np.int32]


def hog(patches: Frame, cell_px: int = 4) -> FloatArray:
    """The feature map of every patch: (n, rows // cell_px, columns // cell_px, 31) float32.

    Channels: 18 signed orientations, 9 unsigned ones, and the texture in each of four blocks of 2x2 cells
    (the one whose first cell it is, one row up, one column left, both).

    Args:
        patches: (n, rows, columns, 3) BGR or (n, rows, columns, 1), uint8.
        cell_px: side of a cell in pixels.
    """
    count, rows, columns, _ = patches.shape
    down, across = rows // cell_px, columns // cell_px
    if count * down * across == 0:
        return np.zeros((count, down, across, CHANNELS), np.float32)
    code, length = strongest_gradients(patches)
    bins = orientation_table().take(code)
    both = np.empty((SIGNED + ORIENTATIONS, count, down, across), np.float32)
    both[:SIGNED] = histograms(bins, length, cell_px)
    np.add(both[:ORIENTATIONS], both[ORIENTATIONS:SIGNED], out=both[SIGNED:])
    return normalised(both, cell_px)


def strongest_gradients(patches: Frame) -> tuple[NDArray[np.intp], FloatArray]:
    """Per pixel the gradient of the channel where it is longest; among equals the first of R, G, B.

    Returns:
        Its place in `orientation_table()`, and twice its length; both (n, rows, columns).
    """
    shape = patches.shape[:3]
    planes = [
        cast(Frame, plane).reshape(shape)
        for plane in cv2.split(np.ascontiguousarray(patches).reshape(1, -1, patches.shape[3]))
    ]
    # One channel after the other, for what they need together does not stay in a small processor's cache.
    code, square = gradients(planes[-1])
    for plane in planes[-2::-1]:
        other_code, other_square = gradients(plane)
        cv2.copyTo(other_code, cv2.compare(other_square, square, cv2.CMP_GT), code)
        cv2.max(other_square, square, square)
    code += LARGEST * WIDTH + LARGEST
    return code.astype(np.intp).reshape(shape), np.sqrt(square, out=square).reshape(shape)


def gradients(plane: Frame) -> tuple[FloatArray, FloatArray]:
    """WIDTH * y + x and x^2 + y^2 of twice the gradient (x, y) at every pixel of one channel; (1, pixels).

    Central differences inside, one-sided ones at the border. All are integers, exact in single precision.

    Args:
        plane: (n, rows, columns).
    """
    values = plane.astype(np.float32)
    x, y = np.empty_like(values), np.empty_like(values)
    # Short rows are slow one by one. Over all of them at once only the ends come out wrong.
    flat, columns = values.ravel(), values.shape[2]
    np.subtract(flat[2:], flat[:-2], out=x.ravel()[1:-1])
    np.subtract(flat[2 * columns :], flat[: -2 * columns], out=y.ravel()[columns:-columns])
    set_ends(x, values)
    set_ends(y.swapaxes(1, 2), values.swapaxes(1, 2))
    code = cast(FloatArray, cv2.scaleAdd(y.reshape(1, -1), WIDTH, x.reshape(1, -1)))
    # Not cv2.magnitude: its last bit depends on where the array lies in memory.
    square = np.square(x, out=x)
    square += np.square(y, out=y)
    return code, square.reshape(1, -1)


def set_ends(doubled: FloatArray, values: FloatArray) -> None:
    """Twice the one-sided differences of `values` at both ends of the last axis, into `doubled`."""
    step = min(1, values.shape[-1] - 1)
    doubled[..., 0] = 2 * (values[..., step] - values[..., 0])
    doubled[..., -1] = 2 * (values[..., -1] - values[..., -1 - step])


@functools.cache
def orientation_table() -> NDArray[np.uint8]:
    """Bin of 18 over the full circle for twice a gradient (x, y), at (y + LARGEST) * WIDTH + x + LARGEST.

    As `fhog` in single precision: the angle is looked up by the cosine in steps of 1e-4, the bin is the
    nearest one.
    """
    pi = np.float32(math.pi)
    cosines = (np.arange(-10000, 10001) / np.float32(10000)).astype(np.float32)
    angles = np.minimum(np.arccos(cosines.astype(np.float64)).astype(np.float32), pi - np.float32(1e-6))
    axis = np.arange(-LARGEST, LARGEST + 1, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    cosine = np.where(y < 0, -x, x) / np.maximum(np.sqrt(x * x + y * y), 1) * np.float32(10000)
    angle = angles[cosine.astype(np.int32) + 10000] + np.where(y < 0, pi, np.float32(0))
    bins: NDArray[np.uint8] = (angle * (np.float32(SIGNED) / (2 * pi)) + np.float32(0.5)).astype(np.uint8)
    bins[bins >= SIGNED] = 0
    return bins.ravel()


@functools.lru_cache(maxsize=8)
def spreading(count: int, rows: int, columns: int, cell_px: int) -> Spreading:
    """The spreading of `count` patches; pixels beyond the last whole cell have no weight."""
    (row, above, below), (column, left, right) = between(rows, cell_px), between(columns, cell_px)
    down, across = rows // cell_px + 1, columns // cell_px + 1
    places = (np.arange(count)[:, None, None] * down + row[:, None]) * across + column
    weights = np.stack([y[:, None] * x for y in (above, below) for x in (left, right)], axis=-1)
    weights = np.broadcast_to(weights * (0.5 / cell_px**2), (*places.shape, 4)).reshape(-1, 4)
    starts = np.arange(places.size + 1, dtype=np.int32)
    return Spreading(places.astype(np.int32), weights.astype(np.float32), starts)


def between(size_px: int, cell_px: int) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """For every pixel of an axis: the cell after its centre, the weight of the cell before, of that cell.

    The centre of pixel i is at cell (i + 0.5) / cell_px - 0.5.
    """
    cells = size_px // cell_px
    doubled = 2 * np.arange(size_px) + 1 + cell_px
    after, share = doubled // (2 * cell_px), doubled % (2 * cell_px) / (2 * cell_px)
    gain = np.zeros(cells + 2)  # the first and the last stand for what is outside
    gain[1:-1] = 1
    gain[1] *= BORDER_GAIN
    gain[-2] *= BORDER_GAIN
    after = np.minimum(after, cells)
    inside = np.arange(size_px) < cells * cell_px
    return after, gain[after] * (1 - share) * inside, gain[after + 1] * share * inside


def histograms(bins: NDArray[np.uint8], length: FloatArray, cell_px: int) -> FloatArray:
    """Gradient lengths per orientation and cell: (18, n, down, across).

    Args:
        bins: orientations, (n, rows, columns).
        length: twice the gradient's length, same shape.
    """
    count, rows, columns = bins.shape
    down, across = rows // cell_px, columns // cell_px
    spread = spreading(count, rows, columns, cell_px)
    cells = count * (down + 1) * (across + 1)
    index = bins.astype(np.int32)
    index *= cells
    index += spread.places
    # A column a pixel with one entry, its length, in the row of its orientation and place.
    entries = length.ravel(), index.ravel(), spread.starts
    matrix = scipy.sparse.csc_array(entries, shape=(SIGNED * cells, length.size))
    parts = cast(Sequence[FloatArray], cv2.split((matrix @ spread.weights).reshape(1, -1, 4)))
    # From the places to the cells that the parts belong to; what wraps around has no weight.
    total = parts[3].ravel()
    for part, steps in zip(parts, (across + 2, across + 1, 1), strict=False):
        total[:-steps] += part.ravel()[steps:]
    return total.reshape(SIGNED, count, down + 1, across + 1)[..., :down, :across]


def normalised(both: FloatArray, cell_px: int) -> FloatArray:
    """The 31 channels from signed and unsigned histograms (27, n, down, across): (n, down, across, 31)."""
    _, count, down, across = both.shape
    flat = both.reshape(len(both), -1)
    part = np.empty_like(flat)
    np.square(flat[SIGNED:], out=part[SIGNED:])
    energy = part[SIGNED:].sum(0).reshape(count, down, across)
    # A map of one row or column has no blocks; this row or column then stands for both of a block.
    energy = energy[:, 1:] + energy[:, :-1] if down > 1 else 2 * energy
    energy = energy[..., 1:] + energy[..., :-1] if across > 1 else 2 * energy
    # Half, for the sum over four blocks is halved.
    scale = np.float32(0.5) / np.sqrt(energy + np.float32(1e-4 / 4 / cell_px**4))
    scale = scale.reshape(count, -1)[:, blocks(down, across)]
    out = np.zeros((CHANNELS, flat.shape[1]), np.float32)
    for i in range(4):
        np.multiply(flat, scale[:, i].ravel(), out=part)
        cv2.threshold(part, 0.5 * CLIP, 0, cv2.THRESH_TRUNC, part)
        out[:-4] += part
        np.sum(part[:SIGNED], axis=0, out=out[i - 4])
    out[-4:] *= np.float32(2 * TEXTURE_WEIGHT)
    return cast(FloatArray, cv2.transpose(out)).reshape(count, down, across, CHANNELS)


@functools.lru_cache(maxsize=8)
def blocks(down: int, across: int) -> NDArray[np.intp]:
    """The four blocks of every cell, (4, down * across): starting at it, a row up, a column left, both.

    Indices into (down - 1, across - 1); at the border the nearest block.
    """
    rows, columns = max(down - 1, 1), max(across - 1, 1)
    y, x = np.arange(down)[:, None], np.arange(across)
    steps = ((0, 0), (1, 0), (0, 1), (1, 1))
    return np.stack(
        [
            (np.clip(y - up, 0, rows - 1) * columns + np.clip(x - left, 0, columns - 1)).ravel()
            for up, left in steps
        ]
    )
