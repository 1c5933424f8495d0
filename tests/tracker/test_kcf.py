"""KCF against known motion and odd input; its filter is tested in tests/core."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_runtime.confidence import ConfidenceConfig, ConfidenceModel, RunningLog, StateMachine, log_ratio
from edge_runtime.errors import BoxError, ConfigError, SourceError
from edge_runtime.trackers.confidence_models import KCF_MODELS
from edge_runtime.trackers.kcf import KcfTracker
from edge_runtime.trackers.settings import KcfConfig
from edge_runtime.types import Box, TrackState
from tests.tracker.pixels import PixelFeatures, scene, texture


def made(config: KcfConfig | None = None) -> KcfTracker:
    config = config or KcfConfig()
    extractor = PixelFeatures() if config.feature.startswith("cnn:") else None
    return KcfTracker(config, extractor, KCF_MODELS[config.feature])


def start(config: KcfConfig | None = None, row: float = 120, column: float = 160) -> KcfTracker:
    tracker = made(config)
    tracker.init(scene(row, column), Box.from_centre(row, column, 48, 48))
    return tracker


def test_follows_a_moving_target():
    tracker = start()
    for k in range(1, 30):
        row, column = 120 + 2 * k, 160 - 3 * k
        result = tracker.update(scene(row, column))
        centre = result.box.centre
        assert np.hypot(centre[0] - row, centre[1] - column) < 4
        assert result.latency_ms > 0
        assert 0 <= result.score <= 1


@pytest.mark.parametrize(("feature", "error_px"), [("hog", 1.5), ("gray", 3.5)])
@pytest.mark.parametrize("kernel", ["linear", "gaussian"])
@pytest.mark.parametrize("grey", [False, True])
def test_follows_a_moving_target_without_a_network(feature, error_px, kernel, grey):
    # Window and label of the preset kcf: a background that stands still holds a larger window back.
    tracker = made(
        KcfConfig(feature=feature, kernel=kernel, search_scale=2.5, label_sigma=0.1, scale_filter=False)
    )
    for k in range(16):
        row, column = 120 + 2 * k, 160 - 3 * k
        frame = scene(row, column)
        if grey:
            frame = frame[..., 1:2].repeat(3, 2)
        if k == 0:
            tracker.init(frame, Box.from_centre(row, column, 48, 48))
            continue
        result = tracker.update(frame)
        assert np.hypot(*np.subtract(result.box.centre, (row, column))) < error_px


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        ("cnn:middle", "feature 'cnn:middle' needs a network; set model.bundle or --bundle, or deploy one"),
        ("cn", "tracker.kcf.feature = 'cn' is not supported; use cnn:<level>, hog or gray"),
        ("sift", "unknown feature 'sift'; use hog, gray, cn, cnn:<level>"),
    ],
)
def test_features_that_cannot_be_had_are_refused_in_one_line(feature, expected):
    with pytest.raises(ConfigError) as caught:
        KcfTracker(KcfConfig(feature=feature), None, KCF_MODELS["hog"])
    assert str(caught.value) == expected


@pytest.mark.parametrize("rate", [1.006, 0.994])
def test_follows_a_zoom(rate):
    tracker = start()
    for k in range(1, 50):
        zoom = cv2.getRotationMatrix2D((160.0, 120.0), 0.0, rate**k)
        frame = cv2.warpAffine(scene(120, 160), zoom, (320, 240), borderMode=cv2.BORDER_REFLECT)
        result = tracker.update(frame)
    assert result.box.w == pytest.approx(48 * rate**49, rel=0.08)


def test_without_the_scale_filter_the_size_stays():
    tracker = start(KcfConfig(scale_filter=False))
    result = tracker.update(scene(124, 163, scale=1.2))
    assert (result.box.w, result.box.h) == (pytest.approx(48), pytest.approx(48))


def test_a_vanished_target_is_lost_and_nothing_is_learned_then():
    confidence = ConfidenceConfig(lost_after_frames=5)
    tracker = start(KcfConfig(confidence=confidence))
    for _ in range(5):
        seen = tracker.update(scene(120, 160))
    assert seen.state is TrackState.TRACKING
    empty = texture(240, 320, seed=9, smooth_px=1.0)
    states = [tracker.update(empty).state for _ in range(12)]
    assert states[-1] is TrackState.LOST
    probe = np.random.default_rng(0).normal(size=(26, 26, 3)).astype(np.float32)
    before = tracker._filter.detect(probe)
    tracker.update(empty)
    assert tracker._filter.detect(probe) == before


def test_a_covered_target_is_lost_and_reacquired():
    tracker = start(KcfConfig(confidence=ConfidenceConfig(lost_after_frames=3)))
    for _ in range(5):
        box = tracker.update(scene(120, 160)).box
    covered = scene(120, 160)
    covered[80:160, 120:200] = texture(80, 80, seed=7, smooth_px=2.0)
    states = [tracker.update(covered).state for _ in range(6)]
    assert states[-1] is TrackState.LOST
    results = [tracker.update(scene(120, 160)) for _ in range(4)]
    assert TrackState.REACQUIRED in [result.state for result in results]
    assert results[-1].state is TrackState.TRACKING
    assert results[-1].box.w == pytest.approx(box.w, rel=0.05)
    assert np.hypot(*np.subtract(results[-1].box.centre, (120, 160))) < 3


def test_state_machine_walks_through_every_state():
    config = ConfidenceConfig(
        uncertain_below=0.4,
        certain_above=0.5,
        reacquired_above=0.6,
        certain_after_frames=2,
        lost_after_frames=3,
    )
    machine = StateMachine(config)
    s = TrackState
    expected = [
        (0.90, s.TRACKING),
        (0.45, s.TRACKING),
        (0.30, s.UNCERTAIN),
        (0.55, s.UNCERTAIN),
        (0.55, s.TRACKING),  # two in a row above certain_above
        (0.30, s.UNCERTAIN),
        (0.45, s.UNCERTAIN),
        (0.45, s.LOST),  # the third uncertain frame
        (0.55, s.LOST),
        (0.55, s.LOST),  # not enough after a loss
        (0.70, s.LOST),
        (0.70, s.REACQUIRED),
        (0.50, s.TRACKING),
    ]
    assert [machine.update(confidence) for confidence, _ in expected] == [state for _, state in expected]


def test_confidence_grows_with_the_ratio_and_stays_between_zero_and_one():
    model = ConfidenceModel(psr_half=12.0, slope=5.0, drop_slope=2.0)
    usual = log_ratio(12.0)
    values = [model(psr, usual) for psr in (-5.0, 0.0, 5.0, 12.0, 30.0, 1e9)]
    assert values == sorted(values)
    assert model(12.0, usual) == pytest.approx(0.5)
    assert 0 <= values[0] < 0.05
    assert 0.95 < values[-1] <= 1
    assert model(float("nan"), usual) == model(float("inf"), usual) == 0


def test_a_sudden_drop_is_less_sure_than_a_slow_one():
    model = ConfidenceModel(psr_half=8.0, slope=4.5, drop_slope=2.0)
    slow, steady = RunningLog(), RunningLog()
    for psr in np.linspace(40, 9, 100):
        slow.add(psr)
        steady.add(40.0)
    assert steady.mean == pytest.approx(np.log(41))
    assert model(9.0, slow.before(9.0)) > 0.35
    assert model(9.0, steady.before(9.0)) < 0.1
    assert RunningLog().before(7.0) == log_ratio(7.0)


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 10),
        (10, 10, -5, 5),
        (400, 10, 20, 20),
        (10, -50, 20, 40),
        (float("nan"), 1, 5, 5),
        (1, 2, 3),
    ],
)
def test_unusable_boxes_are_refused_in_one_line(box):
    tracker = made()
    with pytest.raises(BoxError) as caught:
        tracker.init(scene(120, 160), box)
    assert "\n" not in str(caught.value)


def test_a_changed_frame_size_is_an_error():
    tracker = start()
    with pytest.raises(SourceError, match="320x240 to 100x100"):
        tracker.update(np.zeros((100, 100, 3), np.uint8))


def test_update_before_init_is_an_error():
    with pytest.raises(SourceError, match="init"):
        made().update(scene(120, 160))


@pytest.mark.parametrize(
    "box", [(150, 110, 2, 2), (0, 0, 320, 240), (-30, -20, 60, 50), (300, 220, 60, 60), (100, 5, 3, 200)]
)
@pytest.mark.parametrize("grey", [False, True])
def test_odd_targets_give_finite_boxes_inside_reason(box, grey):
    tracker = made()
    frame = scene(120, 160)
    if grey:
        frame = frame[..., :1].repeat(3, 2)
    tracker.init(frame, Box(*box))
    for image in (frame, np.zeros_like(frame), np.full_like(frame, 255), frame):
        result = tracker.update(image)
        assert np.isfinite(result.box).all()
        assert np.isfinite([result.score, result.psr]).all()
        assert 1 <= result.box.w <= 2 * 320
        row, column = result.box.centre
        assert 0 <= row < 240
        assert 0 <= column < 320


@pytest.mark.parametrize(
    ("setting", "value"), [("search_scale", 1.0), ("learning_rate", -0.1), ("input_px", 10)]
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ConfigError, match=setting):
        KcfConfig(**{setting: value})


def test_a_map_of_too_few_cells_is_refused():
    tracker = made(KcfConfig(input_px=64))
    tracker.init(scene(120, 160), Box(100, 100, 40, 40))  # 8 cells: enough
    coarse = KcfConfig(input_px=64, feature="cnn:coarse")
    small = KcfTracker(coarse, CoarseFeatures(), KCF_MODELS["cnn:high"])
    with pytest.raises(ConfigError, match="cells"):
        small.init(scene(120, 160), Box(100, 100, 40, 40))


class CoarseFeatures(PixelFeatures):
    def extract(self, patches, levels):
        return tuple(maps[:, ::4, ::4] for maps in super().extract(patches, levels))
