"""GOT-10k layout: `<sequence>/00000001.jpg …` and `groundtruth.txt`, 0-based (Huang et al., PAMI 2021)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.datasets.base import Loaders, Sequence
from calibration.sequence_files import GOT10K_TRUTH_FILE, folders_in, read_got10k_folder
from edge_runtime.evaluation import GroundTruth

NAME = "got10k"


def find(root: Path) -> Loaders:
    """Sequences by name."""
    folders = [folder for folder in folders_in(root) if (folder / GOT10K_TRUTH_FILE).is_file()]
    return {folder.name: partial(load, folder) for folder in folders}


def load(folder: Path) -> Sequence:
    """One sequence; see `read_got10k_folder` for the frames that count.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    frames, truth = read_got10k_folder(folder)
    valid, first = truth.valid.copy(), truth.boxes[0]
    # Where tracking starts, whatever the labels say.
    valid[0] |= bool(np.isfinite(first).all() and (first[2:] > 0).all())
    return Sequence(folder.name, NAME, frames, GroundTruth(truth.boxes, valid))
