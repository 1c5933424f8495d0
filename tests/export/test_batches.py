"""Workers that read pictures."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import cv2
import numpy as np
import torch
from calibration.pictures import Picture
from export.pairs.dataset import PairCrops, PairSettings
from export.training.batches import pair_batches

image = np.random.default_rng(0).integers(0, 255, (1000, 1500, 3), np.uint8)
cv2.setNumThreads(4)
cv2.GaussianBlur(image, (0, 0), 3)  # starts OpenCV's threads, which a forked worker does not have
photo = Picture("photo", lambda: image)
pairs = PairCrops([], [photo], PairSettings(), 8, seed=0)
with_workers = list(pair_batches(pairs, range(8), 4, 2, torch.device("cpu")))
alone = list(pair_batches(pairs, range(8), 4, 0, torch.device("cpu")))
for found, wanted in zip(with_workers, alone, strict=True):
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
print(len(with_workers))
"""


def test_workers_start_after_opencv_had_threads() -> None:
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["2"]
