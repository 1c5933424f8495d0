"""Choosing places in a picture: regions that serve as targets, and context without the target."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import Box, Frame

SIZE_RANGE = (0.1, 0.35)  # of a region, in sides of the square that has the picture's area
ASPECT_RANGE = (0.5, 2.0)  # width over height
LEAST_PX = 4.0
REGION_DRAWS, NEGATIVE_DRAWS = 8, 8
ENERGY_PX = 128  # gradients of a picture of this size tell structure from sky


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def structured_region(image: Frame, rng: np.random.Generator) -> Box:
    """A region of a photo that something could be tracked by, in px.

    Of several random ones the one in which the gradients' energy varies most: neither sky, where it is
    nothing, nor grass, where it is much the same everywhere.
    """
    rows, columns = image.shape[:2]
    energy = _gradient_energy(image)
    scale = energy.shape[0] / rows, energy.shape[1] / columns
    boxes = [_region(rows, columns, rng) for _ in range(REGION_DRAWS)]
    return max(boxes, key=lambda box: float(cv2.meanStdDev(_part(energy, box, scale))[1][0, 0]))


def context_centre(
    frame_px: tuple[int, int], box: Box, side_px: float, rng: np.random.Generator
) -> tuple[float, float] | None:
    """The (row, column) around which a crop of `side_px` is a negative; None if there is no room.

    A region of the target's size there does not overlap the target. Of several such places the one where
    the crop shows least of the target.

    Args:
        frame_px: rows and columns of the frame.
        box: the target.
    """
    places = rng.uniform(-0.5, np.array(frame_px) - 0.5, (NEGATIVE_DRAWS, 2))
    distance, size = np.abs(places - box.centre), np.array([box.h, box.w])
    shown = np.clip((side_px + size) / 2 - distance, 0, size).prod(1)
    shown[(distance < size).all(1)] = np.inf
    best = int(shown.argmin())
    return None if np.isinf(shown[best]) else (float(places[best, 0]), float(places[best, 1]))


def _region(rows: int, columns: int, rng: np.random.Generator) -> Box:
    size = log_uniform(rng, *SIZE_RANGE) * math.sqrt(rows * columns)
    root = math.sqrt(log_uniform(rng, *ASPECT_RANGE))
    w = min(max(size * root, LEAST_PX), columns)
    h = min(max(size / root, LEAST_PX), rows)
    return Box(float(rng.uniform(0, columns - w)), float(rng.uniform(0, rows - h)), w, h)


def _gradient_energy(image: Frame) -> NDArray[np.float32]:
    scale = min(1.0, ENERGY_PX / max(image.shape[:2]))
    rows, columns = (max(2, round(n * scale)) for n in image.shape[:2])
    small = cv2.cvtColor(cv2.resize(image, (columns, rows)), cv2.COLOR_BGR2GRAY)
    across, down = (cv2.Sobel(small, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    return np.asarray(across * across + down * down, np.float32)


def _part(energy: NDArray[np.float32], box: Box, scale: tuple[float, float]) -> NDArray[np.float32]:
    top, left = int(box.y * scale[0]), int(box.x * scale[1])
    bottom, right = math.ceil((box.y + box.h) * scale[0]), math.ceil((box.x + box.w) * scale[1])
    return energy[top : max(bottom, top + 1), left : max(right, left + 1)]
