"""Random crops of pictures, as a deterministic function of seed and index."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from calibration.pictures import Picture
from edge_runtime.errors import CalibrationError

DRAWS = 20  # a picture that cannot be decoded is replaced by another draw


class PhotoCrops(Dataset[Tensor]):
    """Item `i` is a uint8 tensor (3, crop_px, crop_px), RGB: photo, crop and augmentation drawn from
    (seed, i), so that a resumed training sees what the uninterrupted one would have seen.
    """

    def __init__(
        self, pictures: list[Picture], crop_px: int, length: int, seed: int, augment: bool = True
    ) -> None:
        self.pictures, self.crop_px, self.length = pictures, crop_px, length
        self.seed, self.augment = seed, augment

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        rng = np.random.default_rng([self.seed, index])
        for _ in range(DRAWS):
            picture = self.pictures[rng.integers(len(self.pictures))]
            bgr = picture.load()
            if bgr is not None:
                break
        else:
            raise CalibrationError(f"{DRAWS} pictures in a row cannot be decoded", where=picture.name)
        rgb = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        crop = random_crop(rgb, self.crop_px, rng)
        if self.augment:
            crop = augment(crop, rng)
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)))


def random_crop(rgb: NDArray[np.uint8], crop_px: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square crop of 40 to 100 % of the shorter side, resized to `crop_px`."""
    rows, columns = rgb.shape[:2]
    side = max(16, round(min(rows, columns) * float(rng.uniform(0.4, 1.0))))
    side = min(side, rows, columns)
    top, left = int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1))
    crop = rgb[top : top + side, left : left + side]
    return cv2.resize(crop, (crop_px, crop_px), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def augment(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Flip, gain, offset, grey and blur, as a tracker's frames vary."""
    if rng.random() < 0.5:
        rgb = rgb[:, ::-1]
    if rng.random() < 0.5:
        gain, offset = rng.uniform(0.6, 1.4), rng.uniform(-30, 30)
        rgb = np.clip(rgb * gain + offset, 0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        rgb = np.repeat(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    if rng.random() < 0.15:
        rgb = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.5, 2.0))).astype(np.uint8)
    return rgb
