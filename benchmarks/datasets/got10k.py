"""GOT-10k layout: `<sequence>/00000001.jpg …` and `groundtruth.txt`, 0-based (Huang et al., PAMI 2021)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.datasets.base import Loaders, Sequence, check_counts, folders_in, pictures, read_flags
from edge_runtime.evaluation import GroundTruth, read_groundtruth

NAME = "got10k"
TRUTH_FILE = "groundtruth.txt"


def find(root: Path) -> Loaders:
    """Sequences by name."""
    folders = [folder for folder in folders_in(root) if (folder / TRUTH_FILE).is_file()]
    return {folder.name: partial(load, folder) for folder in folders}


def load(folder: Path) -> Sequence:
    """One sequence. A test set tells only the first box: the other frames do not count then.

    Frames where `absence.label` is not 0 or `cover.label`, the visible eighths, is 0 do not count either.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    frames, truth = pictures(folder), read_groundtruth(folder / TRUTH_FILE)
    count = len(frames)
    if len(truth.valid) == 1 < count:
        boxes = np.full((count, 4), np.nan)
        boxes[0] = truth.boxes[0]
        return Sequence(folder.name, NAME, frames, GroundTruth(boxes, np.arange(count) == 0))
    check_counts(frames, truth, folder / TRUTH_FILE)
    valid = truth.valid.copy()
    absence, cover = folder / "absence.label", folder / "cover.label"
    if absence.is_file():
        valid &= read_flags(absence, count) == 0
    if cover.is_file():
        valid &= read_flags(cover, count) > 0
    valid[0] |= truth.valid[0]  # where tracking starts, whatever the labels say
    return Sequence(folder.name, NAME, frames, GroundTruth(truth.boxes, valid))
