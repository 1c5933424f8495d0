"""The compiled scale filter against the one in NumPy (tests/oracle), frame after frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.trackers.scale_filter import ScaleFilter
from edge_runtime.trackers.settings import ScaleFilterConfig
from tests.core.levels import every_level
from tests.oracle import scale_filter as oracle
from tests.tracker.pixels import texture

every = pytest.mark.parametrize("core", every_level())
DEFAULTS = (17, 33, 1.02, 0.0625, 0.025, 1e-2, 512.0)
PICTURE = texture(200, 260, seed=5, smooth_px=2.0)


def made(core: Any, config: ScaleFilterConfig, target_px: tuple, base_px: tuple) -> Any:
    c = config
    return core.ScaleFilter(
        c.scales,
        c.interpolated_scales,
        c.step,
        c.label_sigma,
        c.learning_rate,
        c.regularisation,
        c.model_area_px,
        target_px,
        base_px,
    )


def zoomed(factor: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((130, 100), 3.0, factor)
    return cv2.warpAffine(PICTURE, matrix, (260, 200), borderMode=cv2.BORDER_REFLECT)


@every
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("target_px", "scale"),
    [
        ((90.0, 60.0), 1.0),
        ((30.5, 44.2), 0.7),
        ((12.0, 100.0), 1.3),
        ((3.0, 4.0), 1.0),
        ((150.0, 120.0), 5.0),
    ],
)
def test_factors_are_the_oracle_s_over_many_frames(
    core: Any, channels: int, target_px: tuple, scale: float
) -> None:
    config = ScaleFilterConfig(learning_rate=0.1)
    base_px = target_px[0] / scale, target_px[1] / scale
    ours = made(core, config, target_px, base_px)
    theirs = oracle.ScaleFilter(config, target_px, base_px)
    rng = np.random.default_rng(0)
    for frame_number in range(8):
        frame = zoomed(1.02**frame_number)[..., :channels]
        centre = 100 + float(rng.uniform(-30, 30)), 130 + float(rng.uniform(-60, 60))
        if frame_number:
            factor = theirs.locate(frame, centre, scale)
            assert ours.locate(frame, *centre, scale) == pytest.approx(factor, rel=2e-5)
            scale *= factor
        theirs.learn(frame, centre, scale)
        ours.learn(frame, *centre, scale)


@every
@pytest.mark.parametrize(("scales", "interpolated"), [(3, 3), (5, 9), (17, 65), (33, 33)])
def test_other_numbers_of_sizes(core: Any, scales: int, interpolated: int) -> None:
    config = ScaleFilterConfig(scales=scales, interpolated_scales=interpolated, step=1.03)
    ours, theirs = (
        made(core, config, (50.0, 40.0), (50.0, 40.0)),
        oracle.ScaleFilter(config, (50, 40), (50, 40)),
    )
    theirs.learn(zoomed(1.0), (100.0, 130.0), 1.0)
    ours.learn(zoomed(1.0), 100.0, 130.0, 1.0)
    for factor in (0.93, 1.0, 1.05):
        expected = theirs.locate(zoomed(factor), (100.0, 130.0), 1.0)
        assert ours.locate(zoomed(factor), 100.0, 130.0, 1.0) == pytest.approx(expected, rel=2e-5)


@every
def test_features_are_the_oracle_s(core: Any) -> None:
    config = ScaleFilterConfig()
    ours, theirs = (
        made(core, config, (70.0, 50.0), (70.0, 50.0)),
        oracle.ScaleFilter(config, (70, 50), (70, 50)),
    )
    out = np.empty((17, ours.features), np.float32)
    for centre, scale in (((100.0, 130.0), 1.0), ((-20.3, 400.9), 0.3), ((0.0, 0.0), 2.9)):
        ours.sample(PICTURE, *centre, scale, out)
        np.testing.assert_allclose(out.T, theirs._sample(PICTURE, centre, scale), atol=1e-6)


@every
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 200, 1), (300, 1, 3)])
def test_frames_of_one_row_or_column_are_finite(core: Any, shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    filter_ = made(core, ScaleFilterConfig(), (40.0, 30.0), (40.0, 30.0))
    for at in (0.0, 1e9, -1e300):
        filter_.learn(frame, at, -at, 1.0)
        assert 0.6 < filter_.locate(frame, at, -at, 1.3) < 1.6
    assert np.isfinite(filter_.locate(frame, 0.0, 0.0, 5000 / 40))


@every
def test_what_is_refused(core: Any) -> None:
    filter_ = core.ScaleFilter(*DEFAULTS, (40.0, 30.0), (40.0, 30.0))
    with pytest.raises(ValueError, match="learned"):
        filter_.locate(PICTURE, 100.0, 130.0, 1.0)
    for row, column, scale in (
        (np.nan, 0, 1),
        (0, np.inf, 1),
        (0, 0, np.nan),
        (0, 0, 0),
        (0, 0, -1),
        (0, 0, 1e9),
    ):
        with pytest.raises(ValueError, match=r"finite|side"):
            filter_.learn(PICTURE, row, column, scale)
    for size in ((0.0, 30.0), (30.0, np.nan), (np.inf, 30.0)):
        for sizes in ((size, (40.0, 30.0)), ((40.0, 30.0), size)):
            with pytest.raises(ValueError, match="side"):
                core.ScaleFilter(*DEFAULTS, *sizes)
    for place, bad in ((0, 4), (0, 1), (1, 15), (2, np.nan), (3, 0.0), (5, -1.0), (6, np.inf)):
        settings = [*DEFAULTS]
        settings[place] = bad
        with pytest.raises(ValueError, match=r"sizes|settings"):
            core.ScaleFilter(*settings, (40.0, 30.0), (40.0, 30.0))
    with pytest.raises(ValueError, match="sample"):
        filter_.learn_features(np.zeros((17, filter_.features + 1), np.float32))


@every
def test_features_that_are_not_numbers_give_no_factor(core: Any) -> None:
    filter_ = core.ScaleFilter(*DEFAULTS, (40.0, 30.0), (40.0, 30.0))
    features = np.full((17, filter_.features), np.nan, np.float32)
    filter_.learn_features(features)
    assert filter_.locate_features(features) == 1.0


def test_the_tracker_s_filter_is_the_core_s() -> None:
    filter_ = ScaleFilter(ScaleFilterConfig(), (60.0, 40.0), (60.0, 40.0))
    filter_.learn(PICTURE, (100.0, 130.0), 1.0)
    assert filter_.locate(PICTURE, (100.0, 130.0), 1.0) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="finite"):
        filter_.locate(PICTURE, (float("nan"), 130.0), 1.0)
