"""fECO and fDeepSTRCF against per-frame boxes of the authors' own program with the authors' weights.

The whole of it is `make parity`; these are the beginnings of all tracks and two short ones to the end. The
authors' arithmetic is put in place in the NumPy trackers, which the compiled ones follow (`tests/core`).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.config import Config, load_config
from edge_runtime.evaluation import evaluate, iou, read_groundtruth
from edge_runtime.features import FeatureExtractor
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker
from edge_runtime.types import Box, Tracker
from tests.oracle import make as oracle

authors_arithmetic = pytest.importorskip("tests.tracker.authors_arithmetic", reason="needs the export extra")
torch_features = pytest.importorskip("export.torch_features", reason="needs the export extra")
matconvnet = pytest.importorskip("export.matconvnet", reason="needs the export extra")

SEQUENCES = (
    "Bird2",
    "CarScale",
    "Couple",
    "Crossing",
    "Deer",
    "DragonBaby",
    "Human7",
    "Jogging-1",
    "Surfer",
)
GOLDEN = {"feco": "fECO", "fdeepstrcf": "fDeepSTRCF"}
FAMILY = {"feco": "eco", "fdeepstrcf": "strcf"}


@pytest.fixture(scope="module")
def authors_network(shared_data: Path) -> FeatureExtractor:
    found: FeatureExtractor = torch_features.TorchFeatures.of_student(
        matconvnet.load_matconvnet(shared_data / "weights" / "CF_VGGM.mat")
    )
    return found


@pytest.fixture
def arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authors_arithmetic.install(tmp_path, monkeypatch)


Make = Callable[[Config, FeatureExtractor], Tracker]


def track(
    preset: str, features: FeatureExtractor, folder: Path, count: int | None, make: Make = make_tracker
) -> np.ndarray:
    """Boxes (frames, 4), 0-based; learning goes on whatever the confidence, as in the authors' program."""
    switches = ("uncertain_below", "stay_below", "learn_visible_share")
    always = {f"tracker.{FAMILY[preset]}.confidence.{name}": 0.0 for name in switches}
    tracker = make(load_config(None, {"tracker.preset": preset} | always), features)
    truth = read_groundtruth(folder / "groundtruth_rect.txt")
    boxes = []
    for frame in itertools.islice(FolderSource(folder / "img"), count):
        if frame.index == 0:
            first = truth.box(0)
            assert first is not None
            tracker.init(frame.image, first)
            boxes.append(first)
        else:
            boxes.append(tracker.update(frame.image).box)
    return np.array(boxes)


def golden(shared_data: Path, preset: str, sequence: str) -> np.ndarray:
    boxes = np.loadtxt(shared_data / "golden" / GOLDEN[preset] / f"{sequence}.txt", delimiter=",")
    return boxes - (1, 1, 0, 0)


@pytest.mark.parametrize("preset", GOLDEN)
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_ten_frames_are_the_authors_with_their_arithmetic(
    preset: str, sequence: str, shared_data: Path, authors_network: FeatureExtractor, arithmetic: None
) -> None:
    folder = shared_data / "sequences" / "dev" / sequence
    boxes = track(preset, authors_network, folder, 10, oracle.make_tracker)
    np.testing.assert_allclose(boxes, golden(shared_data, preset, sequence)[:10], atol=0.05)


@pytest.mark.parametrize("preset", GOLDEN)
@pytest.mark.parametrize("sequence", ["Crossing", "Deer"])
def test_whole_tracks_overlap_with_exact_arithmetic(
    preset: str, sequence: str, shared_data: Path, authors_network: FeatureExtractor
) -> None:
    folder = shared_data / "sequences" / "dev" / sequence
    truth = read_groundtruth(folder / "groundtruth_rect.txt")
    boxes, theirs = track(preset, authors_network, folder, None), golden(shared_data, preset, sequence)
    np.testing.assert_allclose(boxes[:2], theirs[:2], atol=0.05)
    good = iou(theirs, truth.boxes) > 0.5
    assert iou(boxes, theirs)[good].mean() >= 0.85
    ours, golden_score = (
        evaluate({i: Box(*b) for i, b in enumerate(rows)}, truth) for rows in (boxes, theirs)
    )
    assert ours.success_auc == pytest.approx(golden_score.success_auc, abs=0.015)


@pytest.mark.skipif(os.environ.get("CFVGG_SLOW") != "1", reason="takes minutes; run it with CFVGG_SLOW=1")
@pytest.mark.parametrize("preset", GOLDEN)
def test_whole_tracks_are_the_authors_with_their_arithmetic(
    preset: str, shared_data: Path, authors_network: FeatureExtractor, arithmetic: None
) -> None:
    overlaps, scores = [], []
    for sequence in SEQUENCES:
        folder = shared_data / "sequences" / "dev" / sequence
        truth = read_groundtruth(folder / "groundtruth_rect.txt")
        boxes, theirs = (
            track(preset, authors_network, folder, None, oracle.make_tracker),
            golden(shared_data, preset, sequence),
        )
        overlaps.append(iou(boxes, theirs)[iou(theirs, truth.boxes) > 0.5].mean())
        scores.append(
            [
                evaluate({i: Box(*b) for i, b in enumerate(rows)}, truth).success_auc
                for rows in (boxes, theirs)
            ]
        )
    assert min(overlaps) > 0.95
    ours, golden_score = np.mean(scores, 0)
    assert ours == pytest.approx(golden_score, abs=0.005)
