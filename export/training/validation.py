"""How well trackers do on a student's features, on videos that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge_runtime.config import load_config
from edge_runtime.evaluation import GroundTruth, evaluate
from edge_runtime.sources.folder import read_picture
from edge_runtime.trackers import make_tracker
from edge_runtime.types import Box, Frame
from export.checkpoints import Student
from export.pairs.clips import Clip
from export.torch_features import TorchFeatures

FRAMES = 60  # of a clip; later ones tell little that is new


def validation_auc(student: Student, clips: Sequence[Clip], presets: Sequence[str]) -> dict[str, float]:
    """Mean success AUC over the clips (one pass from the first box), by preset.

    A preset may name its network level, as in "fkcf:middle". Clips whose frames have several sizes are left
    out, as crops around a target have: trackers want one. No entry if no clip is left.

    Raises:
        ConfigError: a preset or a level is unknown.
        SourceError: a picture cannot be read.
    """
    threads = torch.get_num_threads()
    features = TorchFeatures.of_student(student)  # leaves torch one thread, as trackers have
    scores: dict[str, list[float]] = {preset: [] for preset in presets}
    for clip in clips:
        frames, truth = _present(clip)
        pictures = [read_picture(path) for path in frames]
        if len({picture.shape for picture in pictures}) > 1:
            continue
        for preset in presets:
            scores[preset].append(_auc(preset, features, pictures, truth))
    torch.set_num_threads(threads)
    return {preset: float(np.mean(values)) for preset, values in scores.items() if values}


def _auc(preset: str, features: TorchFeatures, pictures: list[Frame], truth: GroundTruth) -> float:
    name, _, level = preset.partition(":")
    overrides = {"tracker.preset": name, "tracker.kcf.feature": f"cnn:{level}" if level else None}
    tracker = make_tracker(load_config(None, overrides), features)
    first = truth.box(0)
    assert first is not None  # `_present` starts where the target is
    tracker.init(pictures[0], first)
    boxes: dict[int, Box | None] = {0: first}
    for number, picture in enumerate(pictures[1:], 1):
        boxes[number] = tracker.update(picture).box
    return evaluate(boxes, truth).success_auc


def _present(clip: Clip) -> tuple[tuple[Path, ...], GroundTruth]:
    """Frames and truth from the first one with the target on."""
    valid = np.isfinite(clip.boxes).all(1)
    start = int(np.argmax(valid))
    part = slice(start, start + FRAMES)
    return clip.frames[part], GroundTruth(clip.boxes[part], valid[part])
