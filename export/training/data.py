"""A run's videos and photos: opened, checked, divided into what is trained and what is validated on."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from calibration.pictures import Picture, find_pictures
from export.pairs.clips import Clip, read_clips, split_clips
from export.pairs.dataset import PairCrops
from export.pairs.frames import without_corrupt
from export.training.config import DistillConfig

VALIDATION_PAIRS = 256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """Pairs to train on and to validate on, and the held-out videos.

    Attributes:
        trained, validated: pairs, drawn alike; with a single held-out video, `validated` has no harder ones.
        held_out: videos that no training pair is from.
        counts: how many videos, photos and corrupt files there were, for the record.
    """

    trained: PairCrops
    validated: PairCrops
    held_out: list[Clip]
    counts: dict[str, int]


def open_data(config: DistillConfig, *, progress: bool) -> TrainingData:
    """Read, check and divide.

    Raises:
        CalibrationError: there are no photos.
        SourceError: there are no videos, or one's files do not belong together.
        ConfigError: too few are left to hold some out.
    """
    data, run = config.data, config.run
    clips = read_clips(Path(data.videos)) if data.videos else []
    pictures = find_pictures(Path(data.photos)) if data.photos else []
    corrupt: list[str] = []
    if data.check:
        clips, pictures, corrupt = without_corrupt(clips, pictures, progress=progress)
    if corrupt:
        log.warning("%d files cannot be decoded and are left out, %s among them", len(corrupt), corrupt[0])
    training, held_out = split_clips(clips, data.held_out, run.seed) if clips else ([], [])
    photos, held_out_photos = _split(pictures, data.held_out_photos, run.seed)
    length = run.cache_pairs if run.cache else run.steps * run.batch
    trained = PairCrops(training, photos, config.pairs, length, run.seed)
    others = len({clip.video for clip in held_out}) + len(held_out_photos) > 1
    settings = config.pairs if others else replace(config.pairs, hard=0.0)  # nothing to put over targets
    validated = PairCrops(held_out, held_out_photos, settings, VALIDATION_PAIRS, run.seed + 1)
    counts = {
        "videos trained on": len(training),
        "videos held out": len(held_out),
        "photos trained on": len(photos),
        "photos held out": len(held_out_photos),
        "corrupt files": len(corrupt),
    }
    return TrainingData(trained, validated, held_out, counts)


def _split(pictures: list[Picture], share: float, seed: int) -> tuple[list[Picture], list[Picture]]:
    if not pictures:
        return [], []
    order = np.random.default_rng(seed).permutation(len(pictures))
    held_out = max(1, round(len(pictures) * share))
    return [pictures[i] for i in order[held_out:]], [pictures[i] for i in order[:held_out]]
