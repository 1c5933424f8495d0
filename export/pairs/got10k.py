"""GOT-10k layout: `<sequence>/00000001.jpg …` and `groundtruth.txt`, 0-based (Huang et al., PAMI 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from calibration.sequence_files import GOT10K_TRUTH_FILE, folders_in, read_got10k_folder
from edge_runtime.evaluation import FloatRows

SUBSETS = ("", "train", "val")  # below the folder that is given; GOT-10k's test set has no truth


def read(root: Path) -> Iterator[tuple[str, tuple[Path, ...], FloatRows]]:
    """Name, frames and boxes, float64 (n, 4), of every sequence; NaN where a frame does not count.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    for subset in SUBSETS:
        if (root / subset).is_dir():
            for folder in folders_in(root / subset):
                if (folder / GOT10K_TRUTH_FILE).is_file():
                    frames, truth = read_got10k_folder(folder)
                    yield folder.name, frames, np.where(truth.valid[:, None], truth.boxes, np.nan)
