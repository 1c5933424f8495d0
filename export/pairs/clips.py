"""Videos with one target each, in the layouts that data sets for training trackers have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.evaluation import FloatRows
from export.pairs import got10k, vid

LAYOUTS: dict[str, Callable[[Path], Iterator[tuple[str, tuple[Path, ...], FloatRows]]]] = {
    "ILSVRC-2015 VID": vid.read,
    "GOT-10k": got10k.read,
}
# `ball2`, `truck4_1`, `Jogging-1`: parts of one video. Four digits and more are a serial number.
PART = re.compile(r"[-_]*(?<!\d)\d{1,3}$|[-_]+$")


@dataclass(frozen=True, eq=False)
class Clip:
    """One target in one video.

    Attributes:
        name: folder, or for VID `snippet/trackid`.
        frames: the n picture files in order.
        boxes: float64 (n, 4): 0-based x, y, w, h in px; NaN rows where the target is absent.
    """

    name: str
    frames: tuple[Path, ...]
    boxes: NDArray[np.float64]

    @cached_property
    def present(self) -> NDArray[np.int64]:
        """Indices of the frames that show the target, ascending."""
        return np.flatnonzero(np.isfinite(self.boxes).all(1))

    @cached_property
    def video(self) -> str:
        """What clips of the same video have in common: the snippet, or the name without its part."""
        name = self.name.partition("/")[0]
        while (shorter := PART.sub("", name)) and shorter != name:
            name = shorter
        return name


def read_clips(root: Path) -> list[Clip]:
    """Every clip below `root`, in ILSVRC-2015 VID or GOT-10k layout, with two frames or more to pair.

    The target counts as absent where its box is empty or its centre outside the frame.

    Args:
        root: holds VID's `Data` and `Annotations`, or GOT-10k's sequence folders, `train` or `val`.

    Raises:
        SourceError: there are no clips, or files are missing, damaged or do not belong together.
    """
    if not root.is_dir():
        raise SourceError("is not a folder", where=root, fix="give the folder of the videos")
    for read in LAYOUTS.values():
        tracks = [_with_absences(*track) for track in read(root)]
        clips = [clip for clip in tracks if len(clip.present) > 1]
        if clips:
            return clips
        if tracks:
            raise SourceError(
                f"no two frames of any of the {len(tracks)} clips show their target",
                where=root,
                fix="check the boxes: x,y,w,h in px",
            )
    raise SourceError(
        f"holds no clips in layout {' or '.join(LAYOUTS)}",
        where=root,
        fix="give the folder that holds Data/ and Annotations/, or NAME/groundtruth.txt beside the pictures",
    )


def split_clips(clips: list[Clip], share: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and about `share` of them held out, both in the order of `clips`.

    Clips of one video are never on both sides (`Clip.video`). A clip's place hangs on its own name and
    the seed: it stays there when others are added, but for those at the border.

    Raises:
        ConfigError: `share` is not from 0 up to 1, or clips are to be held out of a single video.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"{share:g} is not a share of the clips", fix="give 0 up to 1")
    videos: dict[str, int] = {}
    for clip in clips:
        videos[clip.video] = videos.get(clip.video, 0) + 1
    if share and len(videos) < 2:
        raise ConfigError(
            "clips of a single video cannot be both trained on and held out", fix="give more videos"
        )
    order = sorted(videos, key=lambda video: hashlib.sha256(f"{seed}/{video}".encode()).digest())
    wanted, held, count = share * len(clips), set[str](), 0
    for video in order:
        # The one that comes nearer to the share; at least one, and never all.
        if share and (not held or abs(count + videos[video] - wanted) < abs(count - wanted)):
            held.add(video)
            count += videos[video]
    if len(held) == len(videos):
        held.remove(order[-1])
    return [c for c in clips if c.video not in held], [c for c in clips if c.video in held]


def _with_absences(name: str, frames: tuple[Path, ...], boxes: FloatRows) -> Clip:
    rows, columns = _frame_size(frames)
    x, y = (boxes[:, :2] + (boxes[:, 2:] - 1) / 2).T
    with np.errstate(invalid="ignore"):
        shown = (boxes[:, 2:] >= 1).all(1) & (x >= 0) & (y >= 0) & (x < columns) & (y < rows)
    return Clip(name, frames, np.where(shown[:, None], boxes, np.nan))


def _frame_size(frames: tuple[Path, ...]) -> tuple[float, float]:
    """Rows and columns by the first picture whose header can be read; no limit if there is none."""
    for path in frames:
        try:
            with Image.open(path) as picture:
                return picture.height, picture.width
        except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
            continue  # damaged pictures are the training's to report
    return np.inf, np.inf
