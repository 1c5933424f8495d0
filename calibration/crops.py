"""Crops as a tracker makes them: square, around something, with context, at any resolution."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.pictures import Picture
from edge_runtime.errors import CalibrationError
from edge_runtime.types import Frame

DEFAULT_COUNT = 200
DEFAULT_SIZE_PX = 224
HELD_OUT_EVERY = 5  # one picture in so many is kept for checking
CONTEXT = (1.5, 2.5, 4.5)  # side of the search area per side of the target


@dataclass(frozen=True)
class CropSet:
    """Crops and where they come from.

    Attributes:
        crops: uint8 BGR (count, size_px, size_px, 3).
        pictures: names of the pictures that were decoded and cropped.
        undecodable: names of those that were not.
    """

    crops: NDArray[np.uint8]
    pictures: tuple[str, ...]
    undecodable: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hash over the crops' bytes."""
        return hashlib.sha256(self.crops.tobytes()).hexdigest()


def split(pictures: list[Picture]) -> tuple[list[Picture], list[Picture]]:
    """Pictures to calibrate with, and different ones to check with (a single one serves as both)."""
    held_out = pictures[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY] or pictures[-1:]
    names = {picture.name for picture in held_out}
    return [p for p in pictures if p.name not in names] or pictures, held_out


def make_crops(
    pictures: list[Picture], count: int = DEFAULT_COUNT, size_px: int = DEFAULT_SIZE_PX, seed: int = 0
) -> CropSet:
    """Cut `count` crops, every picture in turn; a deterministic function of pictures and seed.

    Raises:
        CalibrationError: no picture can be decoded.
    """
    crops: list[Frame] = []
    good, undecodable = list[Picture](), list[str]()
    shares = [count * i // len(pictures) for i in range(len(pictures) + 1)]
    for index, picture in enumerate(pictures):
        wanted = shares[index + 1] - shares[index]
        image = picture.load() if wanted else None
        if image is not None:
            good.append(picture)
            rng = np.random.default_rng([seed, index])
            crops += [tracker_crop(image, size_px, rng) for _ in range(wanted)]
        elif wanted:
            undecodable.append(picture.name)
    if not good:
        raise CalibrationError(
            f"none of {len(undecodable)} pictures can be decoded", where=undecodable[0], fix="check the files"
        )
    for extra in range(count - len(crops)):  # in place of those that cannot be decoded
        image = good[extra % len(good)].load()
        assert image is not None  # it could be decoded before
        rng = np.random.default_rng([seed, len(pictures) + extra])
        crops.append(tracker_crop(image, size_px, rng))
    return CropSet(np.stack(crops), tuple(picture.name for picture in good), tuple(undecodable))


def tracker_crop(image: Frame, size_px: int, rng: np.random.Generator) -> Frame:
    """One random search area of `image`, uint8 BGR (size_px, size_px, 3), as a tracker would see it."""
    rows, columns = image.shape[:2]
    target_px = min(rows, columns) * float(np.exp(rng.uniform(np.log(0.12), np.log(0.6))))
    side = max(16, round(target_px * float(rng.choice(CONTEXT))))
    row, column = int(rng.integers(rows)), int(rng.integers(columns))
    r = np.clip(np.arange(side) + row - side // 2, 0, rows - 1)
    c = np.clip(np.arange(side) + column - side // 2, 0, columns - 1)
    interpolation = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    crop = cv2.resize(image[np.ix_(r, c)], (size_px, size_px), interpolation=interpolation)
    return _light(np.asarray(crop, np.uint8), rng)


def _light(crop: Frame, rng: np.random.Generator) -> Frame:
    """Mirror, exposure, missing colour and blur, as frames vary."""
    if rng.random() < 0.5:
        crop = np.ascontiguousarray(crop[:, ::-1])
    if rng.random() < 0.4:
        gain, offset = rng.uniform(0.5, 1.5), rng.uniform(-30, 30)
        crop = np.clip(crop * gain + offset, 0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        crop = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)
    if rng.random() < 0.15:
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), float(rng.uniform(0.5, 2.5))), np.uint8)
    return crop
