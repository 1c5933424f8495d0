from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import StorageError
from edge_runtime.evaluation import read_groundtruth
from edge_runtime.types import Box
from tests.edge.helpers import opened

pytest.importorskip("skimage", reason="the clip is made of scikit-image's photos")

from benchmarks.synthetic_clip import FRAMES, Ellipse, Pose, Scene, Sprite, compose, write_clip

SMALL = (320, 180)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("pose", [Pose(60, 50, 1, 0), Pose(60.5, 50, 1.5, 25), Pose(61, 49.3, 0.7, -40)])
def test_boxes_are_the_bounds_of_what_is_pasted(pose: Pose) -> None:
    white = np.full((80, 100, 3), 255, np.uint8)
    sprite = Sprite.cut(white, Ellipse(50, 40, 30, 20), 40)
    canvas = np.zeros((100, 120, 3), np.float32)
    sprite.paste(canvas, pose)
    rows, columns = np.nonzero(canvas[..., 0] > 127.5)
    seen = Box(columns.min(), rows.min(), columns.max() - columns.min() + 1, rows.max() - rows.min() + 1)
    np.testing.assert_allclose(sprite.box(pose), seen, atol=1.1)


def test_the_target_does_what_the_clip_promises(scene: Scene) -> None:
    poses = [scene.pose(index) for index in range(FRAMES)]
    scales = [pose.scale for pose in poses]
    angles = [pose.angle_deg for pose in poses]
    assert (min(scales), max(scales)) == pytest.approx((0.7, 1.5), abs=0.01)
    assert (min(angles), max(angles)) == pytest.approx((-25, 25), abs=0.1)
    boxes = np.array([scene.box(index) for index in range(FRAMES)])
    assert boxes[:, :2].min() > 0
    assert (boxes[:, :2] + boxes[:, 2:] < scene.size).all()
    steps = np.hypot(*np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).T)
    assert 3 < steps.max() < 12
    assert np.ptp(boxes[:, 0]) > 300


def test_the_target_is_covered_twice_once_nearly_whole() -> None:
    scene, hidden = Scene(FRAMES, SMALL), []
    for index in range(FRAMES):
        pose = scene.pose(index)
        layers = [np.zeros((scene.size[1], scene.size[0], 3), np.float32) for _ in range(2)]
        scene.target.paste(layers[0], pose)
        for cover in scene._covers(index, pose):
            scene.occluder.paste(layers[1], cover)
        target, cover_mask = (layer.any(-1) for layer in layers)
        hidden.append((target & cover_mask).sum() / target.sum())
    covered = np.array(hidden) > 0.02
    runs = np.flatnonzero(np.diff(np.r_[0, covered, 0])).reshape(-1, 2)
    assert len(runs) == 2
    assert (runs[:, 1] - runs[:, 0] <= 16).all()
    partial, full = (max(hidden[a:b]) for a, b in runs)
    assert 0.25 < partial < 0.7
    assert full > 0.9


def test_the_light_changes_and_the_camera_pans(scene: Scene) -> None:
    gains = [scene._gain(index) for index in range(FRAMES)]
    assert (min(gains), max(gains)) == (0.55, 1.25)
    # The background alone is drawn in full light.
    assert scene.image(90).mean() / scene._background(90).mean() == pytest.approx(0.55, abs=0.02)
    first, later = (cv2.cvtColor(scene._background(i), cv2.COLOR_BGR2GRAY) for i in (0, 20))
    (right, down), _ = cv2.phaseCorrelate(first, later)
    assert np.hypot(right, down) > 5


def test_a_clip_is_repeatable_and_any_size() -> None:
    a, b = (list(compose(3, SMALL)) for _ in range(2))
    for (image_a, box_a), (image_b, box_b) in zip(a, b, strict=True):
        np.testing.assert_array_equal(image_a, image_b)
        assert box_a == box_b
        assert image_a.shape == (180, 320, 3)
        assert image_a.dtype == np.uint8


def test_written_clips_read_back(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", 6, SMALL)
    assert sorted(p.name for p in (tmp_path / "clip").iterdir()) == ["clip.avi", "groundtruth.txt"]
    truth = read_groundtruth(tmp_path / "clip" / "groundtruth.txt")
    with opened(str(tmp_path / "clip" / "clip.avi")) as source:
        frames = list(source)
    assert source.frame_rate_hz == 30
    assert len(frames) == len(truth.valid) == 6
    for frame, (image, box) in zip(frames, compose(6, SMALL), strict=True):
        assert cv2.PSNR(frame.image, image) > 33
        np.testing.assert_allclose(truth.boxes[frame.index], box, atol=0.001)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        write_clip(tmp_path / "file" / "clip", 2, SMALL)
