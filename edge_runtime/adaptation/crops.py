"""The crops of the first frame that the network is adapted on: the target, changed, and what is beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.trackers.patches import sample_patch
from edge_runtime.types import Box, Frame

FLIP_SHARE, BLUR_SHARE, LIGHT_SHARE = 0.5, 0.5, 0.5
BLUR_PX = 0.5, 2.0  # standard deviation
GAIN, OFFSET = 0.3, 20.0  # of the light, up or down
SHIFT = 0.6  # of a positive crop, in target sides, either way along both axes
LEAST_ROOM = 0.25  # a negative crop is no use where less than this share of it lies in the frame
NEGATIVE_DRAWS = 16


@dataclass(frozen=True)
class CropSet:
    """Crops of one scale, cut around the target and beside it.

    Attributes:
        template: uint8 BGR (crop_px, crop_px, 3), the target's centre in the middle.
        patches: uint8 BGR (n, crop_px, crop_px, 3), positive ones first.
        shifts_px: float64 (n, 2), rows and columns that the target lies below and right of the middle.
        present: bool (n,), whether the patch shows it; the others show nothing of it.
        target_px: rows and columns of the target in a crop.
    """

    template: Frame
    patches: Frame
    shifts_px: NDArray[np.float64]
    present: NDArray[np.bool_]
    target_px: tuple[float, float]


def cut_crops(
    frame: Frame,
    box: Box,
    *,
    positives: int,
    negatives: int,
    search_scale: float,
    crop_px: int,
    rng: np.random.Generator,
) -> CropSet:
    """Positive crops, then as many negative ones as there is room for, up to `negatives`.

    Args:
        frame: uint8 BGR (rows, columns, 3).
        box: the target.
        search_scale: side of a crop over the root of the target's area.
    """
    target = math.sqrt(box.w * box.h)
    side_px, scale = search_scale * target, crop_px / (search_scale * target)
    found = [_positive(frame, box, side_px, crop_px, rng) for _ in range(positives)]
    places = _places_beside(frame.shape, box, side_px, negatives, rng)
    for row, column in places:
        shift = (box.centre[0] - row) * scale, (box.centre[1] - column) * scale
        found.append((_cut(frame, (row, column), side_px, crop_px), shift))
    patches, shifts = zip(*found, strict=True)
    shifts_px = np.array(shifts, np.float64)
    return CropSet(
        _cut(frame, box.centre, side_px, crop_px),
        np.stack(patches),
        shifts_px,
        np.arange(len(patches)) < positives,
        (box.h * scale, box.w * scale),
    )


def _positive(
    frame: Frame, box: Box, side_px: float, crop_px: int, rng: np.random.Generator
) -> tuple[Frame, tuple[float, float]]:
    """The target somewhere in a crop, as it might look a moment later, and where it is."""
    scale = crop_px / side_px
    target_px = math.sqrt(box.w * box.h) * scale
    # On whole pixels of the crop, so that flipping keeps the middle in the middle.
    down, across = (float(v) for v in np.rint(rng.uniform(-SHIFT, SHIFT, 2) * target_px))
    centre = box.centre[0] - down / scale, box.centre[1] - across / scale
    crop = _cut(frame, centre, side_px, crop_px)
    if rng.random() < FLIP_SHARE:
        crop, across = cast(Frame, cv2.flip(crop, 1)), -across
    if rng.random() < BLUR_SHARE:
        crop = cast(Frame, cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(*BLUR_PX))))
    if rng.random() < LIGHT_SHARE:
        values = np.arange(256) * (1 + rng.uniform(-GAIN, GAIN)) + rng.uniform(-OFFSET, OFFSET)
        crop = cast(Frame, cv2.LUT(crop, np.clip(values, 0, 255).astype(np.uint8)))
    return crop, (down, across)


def _places_beside(
    frame_shape: tuple[int, ...], box: Box, side_px: float, count: int, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Centres (row, column) of crops that do not overlap the target, and that show enough of the frame."""
    rows, columns = frame_shape[:2]
    size = np.array([box.h, box.w])
    reach = np.minimum(side_px + size, [rows, columns])  # not further than things that could come near
    found: list[tuple[float, float]] = []
    for _ in range(NEGATIVE_DRAWS * count):
        if len(found) == count:
            break
        place = np.array(box.centre) + rng.uniform(-reach, reach)
        low, high = np.maximum(place - side_px / 2, 0), np.minimum(place + side_px / 2, [rows, columns])
        inside = np.clip(high - low, 0, None).prod() / side_px**2
        beside = (np.abs(place - box.centre) >= (side_px + size) / 2).any()
        if beside and inside >= LEAST_ROOM and 0 <= place[0] < rows and 0 <= place[1] < columns:
            found.append((float(place[0]), float(place[1])))
    return found


def _cut(frame: Frame, centre: tuple[float, float], side_px: float, crop_px: int) -> Frame:
    return sample_patch(frame, centre, side_px, crop_px)
