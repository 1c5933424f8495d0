"""Videos, photos and a teacher for training tests, small and made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from export.checkpoints import random_student, save_student
from export.training.config import DistillConfig, load_distill_config

CHANNELS = (4, 6, 8, 8, 8)


def picture(seed: int, rows: int = 120, columns: int = 160) -> NDArray[np.uint8]:
    """Smooth noise in colour."""
    noise = np.random.default_rng(seed).normal(size=(rows, columns, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    scaled = (smooth - smooth.min()) / np.ptp(smooth)
    return np.asarray(255 * scaled, np.uint8)


def write_data(root: Path) -> None:
    """Four `videos` in GOT-10k layout, eight `photos` and a corrupt one, and `teacher.safetensors`."""
    for number, name in enumerate(("one", "two", "three", "four")):
        folder = root / "videos" / name
        folder.mkdir(parents=True)
        background, target = picture(2 * number), picture(2 * number + 1, 30, 24)
        boxes = []
        for frame in range(6):
            x, y = 40 + 5 * frame, 50 + 2 * frame
            shown = background.copy()
            shown[y : y + 30, x : x + 24] = target
            cv2.imwrite(str(folder / f"{frame + 1:08d}.jpg"), shown)
            boxes.append(f"{x},{y},24,30\n")
        (folder / "groundtruth.txt").write_text("".join(boxes))
    (root / "photos").mkdir()
    for i in range(8):
        cv2.imwrite(str(root / "photos" / f"{i}.png"), picture(100 + i))
    (root / "photos" / "corrupt.jpg").write_bytes(b"not a picture")
    save_student(random_student(CHANNELS, seed=1), root / "teacher.safetensors")


def config(root: Path, **overrides: Any) -> DistillConfig:
    """Six steps of two pairs of 65 px on what `write_data` wrote; overrides' dots are double underscores."""
    small = {
        "data.videos": str(root / "videos"),
        "data.photos": str(root / "photos"),
        "data.held_out": 0.25,
        "teacher.networks": [f"cf-vgg={root / 'teacher.safetensors'}"],
        "student.channels": [3, 5, 6, 6, 6],
        "pairs.crop_px": 65,
        "optimiser.warmup_steps": 2,
        "optimiser.average": 0.5,
        "run.steps": 6,
        "run.batch": 2,
        "run.checkpoint_every": 3,
        "run.validate_every": 0,
        "run.validation_presets": [],
        "run.workers": 0,
    }
    changed = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_distill_config(None, small | changed)
