"""Pairs of crops of one object, each a deterministic function of seed and index (method, section 2)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from calibration.pictures import Picture
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.types import Box, Frame
from export.pairs.augment import augment, grey, light_table
from export.pairs.clips import Clip
from export.pairs.frames import ReducedFrame, read_frame
from export.pairs.geometry import Turn, cut, target_side
from export.pairs.obstacles import distract, occlude
from export.pairs.regions import context_centre, log_uniform, structured_region

PAIRS_VERSION = 2  # raised when the same settings give other pairs: what was kept on disk is made anew
DRAWS = 20  # in place of pictures that cannot be decoded
FAR_SHARE = 0.5  # of the displacements are uniform, the others near
NEAR_DEVIATION = 0.25  # of the near ones, in max_shift
HARD_GAP = 4  # times the gap
GREY_SHARE = 0.1
LIGHT_SHARE = 0.5
TURN_SHARE, TURN_DEGREES, TURN_STRETCH = 0.5, 12.0, 1.15  # of photos, which do not move by themselves

log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """One item of `PairCrops`; the default collate makes batches of it.

    Attributes:
        template: uint8 (3, crop_px, crop_px) RGB, the target's centre at the crop's centre.
        search: uint8 (3, crop_px, crop_px) RGB.
        negatives: uint8 (negatives, 3, crop_px, crop_px) RGB: context without the target in the middle, at
            the scale of search; from another picture where there is no room.
        shift_px: float32 (2,), rows, columns: the target's centre in search minus that in template, crop px.
        target_px: float32 (2,), rows, columns of the target in template, crop px.
    """

    template: Tensor
    search: Tensor
    negatives: Tensor
    shift_px: Tensor
    target_px: Tensor


@dataclass(frozen=True)
class PairSettings:
    """What pairs look like.

    Attributes:
        crop_px: side of every crop.
        padding_range: side of a crop over the target's (the root of its area), log-uniform; ECO and STRCF
            search 4.5 and 5, fKCF 3.
        max_gap_frames: between the two frames of a video.
        max_shift: of the target in search, per axis, in target sides. Half of the shifts are uniform up to
            it, half normal with a quarter of it as deviation, as targets move from frame to frame.
        scale_jitter: largest error, up or down, of the scale at which search is cut: 0.1 is a tenth.
        photo_share: share of the pairs that come from photos where there are videos too.
        negatives: crops without the target per pair.
        augment: whether light, blur, noise, colour and, for both crops alike, side are changed, and photos
            turned and stretched.
        light: how much the light differs between the crops of a pair, 0 to 1, see `augment.light_table`. Too
            much teaches that colour does not matter, which it does.
        hard: share of harder pairs: a larger gap, something over part of the target, or something else
            beside it in search.
    """

    crop_px: int = 192
    padding_range: tuple[float, float] = (3.5, 5.0)
    max_gap_frames: int = 30
    max_shift: float = 0.6
    scale_jitter: float = 0.1
    photo_share: float = 0.5
    negatives: int = 0
    augment: bool = True
    light: float = 0.3
    hard: float = 0.0

    def __post_init__(self) -> None:
        least, most = self.padding_range
        bounds = {
            "crop_px": 32 <= self.crop_px <= 1024,
            "padding_range": 1 <= least <= most <= 16,
            "max_gap_frames": self.max_gap_frames >= 1,
            "max_shift": 0 <= self.max_shift <= least / 2,  # its centre stays in the crop
            "scale_jitter": 0 <= self.scale_jitter <= 1,
            "photo_share": 0 <= self.photo_share <= 1,
            "negatives": 0 <= self.negatives <= 64,
            "light": 0 <= self.light <= 1,
            "hard": 0 <= self.hard <= 1,
        }
        for name, good in bounds.items():
            if not good:
                raise ConfigError(f"{getattr(self, name)!r} is out of range", where=f"pairs.{name}")


class _Scene(NamedTuple):
    """A target in a frame."""

    frame: ReducedFrame
    box: Box

    @property
    def frame_px(self) -> tuple[int, int]:
        rows, columns = self.frame.image.shape[:2]
        return rows * self.frame.reduction, columns * self.frame.reduction


class _DamagedPictureError(Exception):
    """A picture cannot be decoded; another pair is drawn."""


class PairCrops(Dataset[Pair]):
    """Item `i` is drawn from (seed, i) alone, so that a training that is resumed, or shared out over
    processes, sees what an uninterrupted single one would have seen.

    Damaged pictures are replaced by another draw, with one warning each and process;
    `frames.without_corrupt` finds them beforehand.

    Args:
        clips: videos; may be empty if there are pictures.
        pictures: photos, of which structured regions serve as targets; may be empty if there are clips.
        length: number of items.

    Raises:
        ConfigError: there is nothing to draw from, or only one video or photo although negatives or
            harder pairs need another.
        SourceError: from an item: 20 draws in a row could not be decoded.
    """

    def __init__(
        self, clips: list[Clip], pictures: list[Picture], settings: PairSettings, length: int, seed: int
    ) -> None:
        self.clips, self.pictures, self.settings = clips, pictures, settings
        self.length, self.seed = length, seed
        self.warned = set[str]()
        if not clips and not pictures:
            raise ConfigError("there is nothing to make pairs of", fix="give videos, photos or both")
        if not all(len(clip.present) for clip in clips):
            empty = next(clip for clip in clips if not len(clip.present))
            raise ConfigError("no frame shows the target", where=empty.name, fix="leave the clip out")
        videos = {clip.video for clip in clips}
        if (settings.negatives or settings.hard) and len(videos) + len(pictures) < 2:
            raise ConfigError(
                "negatives and harder pairs take things from another video or photo", fix="give two or more"
            )

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Pair]:
        return map(self.__getitem__, range(self.length))

    def __getitem__(self, index: int) -> Pair:
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, index])
        for _ in range(DRAWS):
            try:
                return self._pair(rng)
            except _DamagedPictureError as error:
                if str(error) not in self.warned:
                    self.warned.add(str(error))
                    log.warning("%s: cannot be decoded; another one is taken", error)
        raise SourceError(
            f"{DRAWS} pictures in a row cannot be decoded",
            where=sorted(self.warned)[-1],
            fix="check the files",
        )

    def _pair(self, rng: np.random.Generator) -> Pair:
        settings, px = self.settings, self.settings.crop_px
        source = self._source(rng)
        obstacle = _obstacle(source, rng) if rng.random() < settings.hard else ""
        padding = log_uniform(rng, *settings.padding_range)
        first, second = self._scenes(source, padding, obstacle == "gap", rng)
        side_px = padding * target_side(first.box)
        template = cut(first.frame, first.box.centre, side_px, px)
        target_px = np.array([first.box.h, first.box.w]) * px / side_px

        jitter = log_uniform(rng, 1 / (1 + settings.scale_jitter), 1 + settings.scale_jitter)
        search_px = padding * target_side(second.box) * jitter
        down, across = self._shift(rng, px / padding)
        turn = self._turn(rng) if isinstance(source, Picture) else None
        search = cut(second.frame, second.box.centre, search_px, px, shift_px=(down, across), turn=turn)
        if obstacle in ("occlude", "distract"):
            middle, size = (px - 1) / 2, np.array([second.box.h, second.box.w]) * px / search_px
            change = occlude if obstacle == "occlude" else distract
            thing = self._thing(source, rng)
            search = change(search, thing, (middle + down, middle + across, *size.tolist()), rng)

        negatives = [self._negative(source, second, search_px, rng) for _ in range(settings.negatives)]
        crops = [template, search, *negatives]
        if settings.augment:
            if rng.random() < 0.5:
                crops, across = [cast(Frame, cv2.flip(crop, 1)) for crop in crops], -across
            if rng.random() < GREY_SHARE:
                crops = [grey(crop) for crop in crops]
            if rng.random() < LIGHT_SHARE:  # another camera, for the whole pair
                table = light_table(rng, 1.0)
                crops = [cast(Frame, cv2.LUT(crop, table)) for crop in crops]
            crops = [augment(crop, rng, settings.light) for crop in crops]
        tensors = _tensors(crops)
        shift_px = torch.tensor([down, across], dtype=torch.float32)
        return Pair(tensors[0], tensors[1], tensors[2:], shift_px, torch.from_numpy(target_px).float())

    def _source(self, rng: np.random.Generator, other_than: Clip | Picture | None = None) -> Clip | Picture:
        """A video or a photo, another one than that which is given."""
        share = self.settings.photo_share if self.clips and self.pictures else float(not self.clips)
        while True:
            chosen: list[Clip] | list[Picture] = self.pictures if rng.random() < share else self.clips
            source = chosen[rng.integers(len(chosen))]
            if _origin(source) != _origin(other_than):
                return source
            # The only one of its kind: the other kind has some.
            share = 0.5 if self.clips and self.pictures else share

    def _scenes(
        self, source: Clip | Picture, padding: float, far: bool, rng: np.random.Generator
    ) -> tuple[_Scene, _Scene]:
        if isinstance(source, Picture):
            scene = self._scene(source, padding, rng)
            return scene, scene
        gap = self.settings.max_gap_frames * (HARD_GAP if far else 1)
        first = source.present[rng.integers(len(source.present))]
        near = source.present[(abs(source.present - first) <= gap) & (source.present != first)]
        second = near[rng.integers(len(near))] if len(near) else first
        return self._video(source, int(first), padding), self._video(source, int(second), padding)

    def _scene(self, source: Clip | Picture, padding: float, rng: np.random.Generator) -> _Scene:
        if isinstance(source, Clip):
            return self._video(source, int(source.present[rng.integers(len(source.present))]), padding)
        image = source.load()
        if image is None:
            raise _DamagedPictureError(source.name)
        return _Scene(ReducedFrame(image, 1), structured_region(image, rng))

    def _video(self, clip: Clip, index: int, padding: float) -> _Scene:
        box = Box(*clip.boxes[index].tolist())
        frame = read_frame(clip.frames[index], padding * target_side(box), self.settings.crop_px)
        if frame is None:
            raise _DamagedPictureError(clip.frames[index])
        return _Scene(frame, box)

    def _shift(self, rng: np.random.Generator, side_px: float) -> tuple[float, float]:
        most = self.settings.max_shift
        if rng.random() < FAR_SHARE:
            shift = rng.uniform(-most, most, 2)
        else:
            shift = np.clip(rng.normal(0, NEAR_DEVIATION * most, 2), -most, most)
        return float(shift[0]) * side_px, float(shift[1]) * side_px

    def _turn(self, rng: np.random.Generator) -> Turn | None:
        if not self.settings.augment or rng.random() >= TURN_SHARE:
            return None
        degrees = float(rng.uniform(-TURN_DEGREES, TURN_DEGREES))
        return Turn(degrees, log_uniform(rng, 1 / TURN_STRETCH, TURN_STRETCH))

    def _thing(self, source: Clip | Picture, rng: np.random.Generator) -> Frame:
        """The target of another video or photo, a square picture without context."""
        scene = self._scene(self._source(rng, source), 1.0, rng)
        return cut(scene.frame, scene.box.centre, target_side(scene.box), self.settings.crop_px // 2)

    def _negative(
        self, source: Clip | Picture, scene: _Scene, side_px: float, rng: np.random.Generator
    ) -> Frame:
        centre = context_centre(scene.frame_px, scene.box, side_px, rng)
        if centre is None:
            padding = side_px / target_side(scene.box)
            scene = self._scene(self._source(rng, source), padding, rng)
            centre = float(rng.uniform(0, scene.frame_px[0])), float(rng.uniform(0, scene.frame_px[1]))
            side_px = padding * target_side(scene.box)
        return cut(scene.frame, centre, side_px, self.settings.crop_px)


def _origin(source: Clip | Picture | None) -> str | Picture | None:
    """What two targets of one video have in common; a photo is its own."""
    return source.video if isinstance(source, Clip) else source


def _obstacle(source: Clip | Picture, rng: np.random.Generator) -> str:
    return str(rng.choice(["occlude", "distract", *(["gap"] if isinstance(source, Clip) else [])]))


def _tensors(crops: list[Frame]) -> Tensor:
    """BGR crops as one RGB tensor (n, 3, rows, columns)."""
    rgb = np.empty((len(crops), 3, *crops[0].shape[:2]), np.uint8)
    for planes, crop in zip(rgb, crops, strict=True):
        for channel, plane in enumerate(planes[::-1]):
            cv2.extractChannel(crop, channel, plane)  # far faster than a transposed copy
    return torch.from_numpy(rgb)
