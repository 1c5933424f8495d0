"""Decoding frames no larger than needed, and finding the pictures that cannot be decoded."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
from tqdm import tqdm

from calibration.pictures import Picture
from edge_runtime.types import Frame
from export.pairs.clips import Clip

JPEG_SUFFIXES = (".jpg", ".jpeg")
FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class Sound(NamedTuple):
    """What is left to train on, and the names of the files that cannot be decoded."""

    clips: list[Clip]
    pictures: list[Picture]
    corrupt: list[str]


class ReducedFrame(NamedTuple):
    """A frame, uint8 BGR, of which each pixel stands for a square of `reduction` px a side."""

    image: Frame
    reduction: int

    def place(self, centre: tuple[float, float]) -> tuple[float, float]:
        """A (row, column) of the full frame in pixels of this one; both count centres of pixels."""
        row, column = ((v + 0.5) / self.reduction - 0.5 for v in centre)
        return row, column


def read_frame(path: Path, side_px: float, crop_px: int) -> ReducedFrame | None:
    """A picture file for a crop of `side_px` that will be resized to `crop_px`; None if it is damaged.

    JPEG files are decoded at a half, a quarter or an eighth where that leaves enough pixels: the decoder's
    own averages cost less than the full picture.
    """
    reduction = 1
    if path.suffix.lower() in JPEG_SUFFIXES:
        while reduction < 8 and side_px / (2 * reduction) >= crop_px:
            reduction *= 2
    image = _decode(path, reduction)
    return None if image is None else ReducedFrame(image, reduction)


def without_corrupt(clips: list[Clip], pictures: list[Picture], *, progress: bool = True) -> Sound:
    """Decode everything once and leave out what fails: damaged frames become frames without the target.

    Clips that keep fewer than two frames are left out. One entry of `corrupt` for each file, whatever
    number of clips share it. Decoding runs in as many threads as there are cores.
    """
    frames = list({clip.frames[i]: None for clip in clips for i in clip.present})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = chain(pool.map(_frame_decodes, frames), pool.map(_picture_decodes, pictures))
        total = len(frames) + len(pictures)
        good = list(tqdm(decoded, "checking pictures", total, unit="picture", disable=not progress))
    bad = {path for path, fine in zip(frames, good[: len(frames)], strict=True) if not fine}
    kept = [_without(clip, bad) for clip in clips]
    judged = list(zip(pictures, good[len(frames) :], strict=True))
    return Sound(
        [clip for clip in kept if len(clip.present) > 1],
        [picture for picture, fine in judged if fine],
        [str(path) for path in frames if path in bad] + [p.name for p, fine in judged if not fine],
    )


def _frame_decodes(path: Path) -> bool:
    return _decode(path, 8) is not None


def _picture_decodes(picture: Picture) -> bool:
    return picture.load() is not None


def _without(clip: Clip, bad: set[Path]) -> Clip:
    lost = np.array([path in bad for path in clip.frames])
    if not lost.any():
        return clip
    return replace(clip, boxes=np.where(lost[:, None], np.nan, clip.boxes))


def _decode(path: Path, reduction: int) -> Frame | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    try:
        # From memory: read from its file, a truncated picture would be filled up with grey.
        return cast("Frame | None", cv2.imdecode(np.frombuffer(data, np.uint8), FLAGS[reduction]))
    except cv2.error:  # empty files
        return None
