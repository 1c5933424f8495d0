"""The student that is shipped, through the whole line: checkpoint, bundle, tracker, score."""

from __future__ import annotations

import itertools
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic_clip import compose
from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.evaluation import GroundTruth, evaluate, read_groundtruth
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker
from edge_runtime.types import Box, Frame
from export.bundle import export_bundle
from export.calibrate import ExportSettings
from export.checkpoints import load_student
from export.cli import SHIPPED_WEIGHTS


@pytest.fixture(scope="module")
def shipped_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The default export, limits included."""
    path = tmp_path_factory.mktemp("shipped") / "bundle"
    with resources.as_file(resources.files("export") / SHIPPED_WEIGHTS) as weights:
        export_bundle(load_student(weights), weights.stem, path, ExportSettings(int8=True))
    return Bundle.open(path)


def track(bundle: Bundle, dtype: str, frames: list[Frame], first: Box) -> dict[int, Box | None]:
    tracker = make_tracker(load_config(), NetworkFeatures(bundle, dtype))
    tracker.init(frames[0], first)
    return {0: first} | {i: tracker.update(frame).box for i, frame in enumerate(frames[1:], 1)}


def test_its_card_says_what_the_checkpoint_says() -> None:
    folder = Path(str(resources.files("export"))) / "weights"
    student = load_student(folder / "cfvgg-x64.safetensors")
    card = (folder / "cfvgg-x64.md").read_text()
    provenance = student.provenance
    assert f"{sum(p.numel() for p in student.model.parameters()):,} parameters" in card
    config, data, log = provenance["config"], provenance["data"], provenance["log"]
    run = config["run"]
    assert f"{run['steps']:,} steps of {run['batch']} pairs of {config['pairs']['crop_px']} px" in card
    assert f"seed {run['seed']}" in card
    assert f"{data['videos trained on']} clips" in card
    assert f"{data['photos trained on']:,} photos" in card
    for figure in ("fidelity", "located"):
        shown = [log[f"validation {figure} {level}"] for level in ("low", "middle", "high")]
        assert "low {:.3f}, middle {:.3f}, high {:.3f}".format(*shown) in card
    assert student.licence == "Apache-2.0"


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_it_tracks_the_composed_clip(shipped_bundle: Bundle, dtype: str) -> None:
    clip = list(itertools.islice(compose(), 60))
    boxes = track(shipped_bundle, dtype, [frame for frame, _ in clip], clip[0][1])
    truth = GroundTruth(np.array([box for _, box in clip]), np.ones(len(clip), bool))
    assert evaluate(boxes, truth).success_auc > 0.6


def test_it_tracks_a_real_sequence(shipped_bundle: Bundle, shared_data: Path) -> None:
    folder = shared_data / "sequences" / "dev" / "Crossing"
    truth = read_groundtruth(folder / "groundtruth_rect.txt")
    frames = [frame.image for frame in FolderSource(folder / "img")]
    first = truth.box(0)
    assert first is not None
    score = evaluate(track(shipped_bundle, "int8", frames, first), truth)
    assert score.success_auc > 0.6
    assert score.precision_20px == 1.0
