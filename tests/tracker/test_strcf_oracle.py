"""The tracker on the compiled core against the NumPy tracker: the same boxes, frame by frame."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.bundle import Bundle
from edge_runtime.evaluation import read_groundtruth
from edge_runtime.features import FeatureExtractor, NetworkFeatures
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers.confidence_models import PRESET_MODELS
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.trackers.settings import StrcfConfig
from edge_runtime.trackers.strcf import StrcfTracker
from edge_runtime.types import Box, Frame
from tests.oracle.strcf import StrcfTracker as Oracle
from tests.tracker.pixels import PixelFeatures, texture

FRAMES = 201
WITHOUT = StrcfConfig(**{name: tuple(value) for name, value in PRESETS["strcf"].items()})
PIXELS = StrcfConfig(features=("hog", "gray", "cnn:middle"), window_cells_px=(4.0, 8.0))


def clip(grey: bool = False) -> Iterator[Frame]:
    """A textured square that goes about, turns and breathes, in noise; a bar passes over it twice."""
    background, target = texture(240, 320, seed=1), texture(48, 40, seed=2, smooth_px=4.0)
    mask = np.ones(target.shape[:2], np.float32)
    for k in range(FRAMES):
        pose = cv2.getRotationMatrix2D((19.5, 23.5), 15 * np.sin(k / 17), 1 + 0.25 * np.sin(k / 23))
        pose[:, 2] += 140 + 55 * np.sin(k / 15), 96 + 30 * np.sin(k / 11)
        opacity = cv2.warpAffine(mask, pose, (320, 240))[..., None]
        frame = background * (1 - opacity) + cv2.warpAffine(target, pose, (320, 240)) * opacity
        bar = round(320 * (k % 100 - 60) / 20)
        frame[:, max(bar, 0) : max(bar + 15, 0)] = 60
        frame += np.random.default_rng(k).normal(0, 3, frame.shape)
        image = np.clip(frame, 0, 255).astype(np.uint8)
        yield image[..., 1:2].repeat(3, 2) if grey else image


def both(
    config: StrcfConfig, preset: str, features: FeatureExtractor | None, frames: Iterable[Frame], box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Per frame and tracker (core, oracle): boxes (frames, 2, 4), and scores with ratios (frames, 2, 2)."""
    trackers = [kind(config, features, PRESET_MODELS[preset]) for kind in (StrcfTracker, Oracle)]
    boxes, scores = [], []
    for k, frame in enumerate(frames):
        if k == 0:
            for tracker in trackers:
                tracker.init(frame, box)
            continue
        results = [tracker.update(frame) for tracker in trackers]
        assert results[0].state == results[1].state
        boxes.append([result.box for result in results])
        scores.append([(result.score, result.psr) for result in results])
    return np.array(boxes), np.array(scores)


def check(boxes: np.ndarray, scores: np.ndarray) -> None:
    np.testing.assert_allclose(boxes[:, 0], boxes[:, 1], rtol=0, atol=0.05)
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("preset", ["strcf", "fdeepstrcf"])
def test_200_frames_of_a_clip(preset: str, grey: bool) -> None:
    config, features = (WITHOUT, None) if preset == "strcf" else (PIXELS, PixelFeatures())
    boxes, scores = both(config, preset, features, clip(grey), Box(140, 96, 40, 48))
    assert len(boxes) == 200
    check(boxes, scores)
    assert np.ptp(boxes[:, 0, 0]) > 80  # it did move
    assert scores[:, 0, 0].min() < 0.5 < scores[:, 0, 0].max()  # and was covered


@pytest.mark.parametrize("size", [(8, 8), (200, 30), (150, 180)])
def test_other_sizes_of_target(size: tuple[int, int]) -> None:
    """Other grids: 50 frames each, wherever that leads."""
    box = Box.from_centre(120, 160, *size)
    check(*both(PIXELS, "fdeepstrcf", PixelFeatures(), itertools.islice(clip(), 50), box))


@pytest.mark.parametrize("sequence", ["Human7", "Jogging-1"])
def test_200_frames_of_a_sequence(sequence: str, shared_data: Path, bundle_path: Path) -> None:
    folder = shared_data / "sequences" / "dev" / sequence
    box = read_groundtruth(folder / "groundtruth_rect.txt").box(0)
    assert box is not None
    frames = (frame.image for frame in itertools.islice(FolderSource(folder / "img"), FRAMES))
    network = NetworkFeatures(Bundle.open(bundle_path), "int8")
    check(*both(StrcfConfig(), "fdeepstrcf", network, frames, box))
