"""The scale filter on a target that is zoomed by known factors, and its algebra written out."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from edge_runtime.trackers.scale_filter import ScaleFilter
from edge_runtime.trackers.settings import ScaleFilterConfig
from tests.oracle import scale_filter as oracle
from tests.oracle.scale_filter import centred, circular, orthonormal, parabola_vertex, triangle
from tests.tracker.pixels import texture

CENTRE = (120.0, 160.0)
picture = cache(texture)


def zoomed(factor: float, rows: int = 240, columns: int = 320, smooth_px: float = 2.0) -> np.ndarray:
    """A texture enlarged around its middle; beyond its border it is mirrored."""
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), 0.0, factor)
    frame = picture(rows, columns, seed=3, smooth_px=smooth_px)
    return cv2.warpAffine(frame, matrix, (columns, rows), borderMode=cv2.BORDER_REFLECT)


def started(target_px=(60.0, 44.0), centre=CENTRE, scale=1.0, frame=None, **settings) -> ScaleFilter:
    base_px = target_px[0] / scale, target_px[1] / scale
    filter_ = ScaleFilter(ScaleFilterConfig(**settings), target_px, base_px)
    filter_.learn(zoomed(1.0) if frame is None else frame, centre, scale)
    return filter_


def sampled(filter_: ScaleFilter, frame: np.ndarray, centre: tuple[float, float], scale: float) -> np.ndarray:
    """HOG of the target at every size, (features, scales)."""
    out = np.empty((filter_.config.scales, filter_._core.features), np.float32)
    filter_._core.sample(frame, *centre, scale, out)
    return out.T


def oracle_s(**settings) -> oracle.ScaleFilter:
    """The filter in NumPy; tests/core finds that both say the same."""
    return oracle.ScaleFilter(ScaleFilterConfig(**settings), (60.0, 44.0), (60.0, 44.0))


def test_orders_of_the_sizes():
    assert centred(5).tolist() == [-2, -1, 0, 1, 2]
    assert circular(5).tolist() == [0, 1, 2, -2, -1]
    for count in (1, 3, 17, 33):
        np.testing.assert_array_equal(np.sort(circular(count)), centred(count))
        assert circular(count)[0] == 0


def test_sampled_sizes_span_the_interpolated_ones():
    filter_ = oracle_s(scales=17, interpolated_scales=33, step=1.02)
    np.testing.assert_allclose(filter_._factors[[0, 8, 16]], 1.02 ** np.array([-8 * 33 / 17, 0, 8 * 33 / 17]))
    np.testing.assert_allclose(
        filter_._interpolated[[0, 1, 16, 17, 32]], 1.02 ** np.array([0, 1, 16, -16, -1])
    )


@pytest.mark.parametrize("points", [(0.0, 1.0, 2.0), (0.9, 1.0, 1.3), (1.0, 1.2, 0.5)])
def test_parabola_vertex_of_a_parabola_is_its_top_where_it_lies_between_the_points(points):
    x = np.array(points)
    for top in (0.97, 1.04, 1.5, 0.1):
        nearest = min(max(top, x.min()), x.max())
        assert parabola_vertex(x, 7 - 3 * (x - top) ** 2) == pytest.approx(nearest)


def test_parabola_vertex_of_a_line_stays_between_its_points():
    assert 0.9 <= parabola_vertex(np.array([0.9, 1, 1.1]), np.array([1.0, 2, 3])) <= 1.1
    wrapped = parabola_vertex(1.02 ** np.array([15.0, 16, -16]), np.array([0.9583, 1, 0]))
    assert 1.02**-16 <= wrapped <= 1.02**16


@pytest.mark.parametrize("y", [(1, 1, 1), (3, 1, 3), (np.nan, 1, 2)])
def test_parabola_vertex_without_a_top_is_the_middle_point(y):
    assert parabola_vertex(np.array([0.9, 1.0, 1.1]), np.array(y, float)) == 1.0


@pytest.mark.parametrize("shape", [(50, 17), (17, 17), (9, 17)])
def test_basis_and_triangle_are_the_qr_decomposition(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    basis = orthonormal(x)
    dimensions = min(shape)
    assert basis.shape == (shape[0], dimensions)
    np.testing.assert_allclose(basis.T @ basis, np.eye(dimensions), atol=1e-5)
    np.testing.assert_allclose(basis @ (basis.T @ x), x, atol=1e-5)
    assert triangle(x).shape == (dimensions, 17)
    np.testing.assert_allclose(np.abs(basis.T @ x), np.abs(triangle(x)), atol=1e-5)


def test_response_is_that_of_all_features():
    """The authors' projections lose nothing: inner products with the template stay as they are."""
    filter_ = started(learning_rate=0.3)
    filter_.learn(zoomed(1.02), CENTRE, 1.01)
    window = np.hanning(17)
    first, second, z = (
        sampled(filter_, zoomed(zoom), CENTRE, scale) * window
        for zoom, scale in ((1.0, 1.0), (1.02, 1.01), (1.05, 1.0))
    )
    rate = filter_.config.learning_rate
    template = np.fft.fft((1 - rate) * first + rate * second, axis=1)
    energies = [(np.abs(np.fft.fft(x, axis=1)) ** 2).sum(0) for x in (first, second)]
    denominator = (1 - rate) * energies[0] + rate * energies[1]
    numerator = oracle_s()._label * np.einsum("fs,fs->s", template.conj(), np.fft.fft(z, axis=1))
    response = numerator / (denominator + filter_.config.regularisation)

    # The 33 sizes evaluated one by one from the 17 frequencies.
    k, at = circular(17), circular(33)
    values = (np.exp(2j * np.pi * np.outer(at, k) / 33) @ response).real / 17
    around = [(int(values.argmax()) + step) % 33 for step in (-1, 0, 1)]
    a, b, _ = np.polyfit(1.02 ** at[around], values[around], 2)
    assert filter_.locate(zoomed(1.05), CENTRE, 1.0) == pytest.approx(-b / (2 * a), rel=1e-4)


def test_label_is_a_circular_gaussian_over_the_sampled_sizes():
    label = np.fft.ifft(oracle_s()._label)
    np.testing.assert_allclose(label.imag, 0, atol=1e-6)
    exponents = circular(17) * 33 / 17
    np.testing.assert_allclose(label.real, np.exp(-0.5 * (exponents / (33 / 16)) ** 2), atol=1e-6)


def test_without_a_change_the_factor_is_one():
    assert started().locate(zoomed(1.0), CENTRE, 1.0) == pytest.approx(1, abs=0.003)


@pytest.mark.parametrize("steps", [-5, -1, 1, 4])
def test_a_shift_by_sampled_sizes_is_a_factor_of_as_many_steps(steps):
    """Features that no two sizes share: what was seen at one size is seen at one `steps` further up."""
    core = ScaleFilter(ScaleFilterConfig(), (60.0, 44.0), (60.0, 44.0))._core
    features = np.random.default_rng(0).normal(size=(17, core.features)).astype(np.float32)
    core.learn_features(features)
    found = core.locate_features(np.roll(features, steps, 0))
    assert np.log(found) / np.log(1.02) == pytest.approx(steps * 33 / 17, abs=0.3)


@pytest.mark.parametrize("factor", [0.9, 0.96, 1.03, 1.1])
def test_a_zoom_is_found_in_a_few_frames(factor):
    """Neighbouring sizes look alike, which holds the first answer back by about a third."""
    filter_, scale = started(), 1.0
    for _ in range(4):
        scale *= filter_.locate(zoomed(factor), CENTRE, scale)
    assert scale == pytest.approx(factor, rel=0.015)


@pytest.mark.parametrize("rate", [1.02, 0.985])
@pytest.mark.parametrize("target_px", [(60.0, 44.0), (24.0, 40.0)])
def test_follows_a_zoom_over_many_frames(rate, target_px):
    filter_, scale = started(target_px), 1.0
    for k in range(1, 16):
        frame = zoomed(rate**k)
        scale *= filter_.locate(frame, CENTRE, scale)
        filter_.learn(frame, CENTRE, scale)
    assert scale == pytest.approx(rate**15, rel=0.04)


def test_a_scale_other_than_one_changes_nothing_but_units():
    here, there = started(scale=1.0), started(scale=0.5)
    for factor in (0.9, 1.1):
        frame = zoomed(factor)
        assert there.locate(frame, CENTRE, 0.5) == pytest.approx(here.locate(frame, CENTRE, 1.0), rel=1e-6)


def test_a_large_target_is_sampled_from_every_other_pixel():
    """At a scale of 4 the smallest size is 2.9 times the base, at a scale of 2 it is 1.5 times."""
    frame = zoomed(1.0, 480, 640, smooth_px=8.0)
    filter_ = started((200.0, 160.0), (240.0, 320.0), scale=4.0, frame=frame)
    decimated = sampled(filter_, frame[::2, ::2], (120.0, 160.0), 2.0)
    np.testing.assert_array_equal(sampled(filter_, frame, (240.0, 320.0), 4.0), decimated)


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_large_target_is_found(factor):
    before, after = (zoomed(zoom, 480, 640, smooth_px=8.0) for zoom in (1.0, factor))
    filter_ = started((200.0, 160.0), (240.0, 320.0), scale=4.0, frame=before)
    assert filter_.locate(after, (240.0, 320.0), 4.0) == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("centre", [(2.0, 3.0), (239.0, 319.0), (-40.0, 400.0)])
def test_partly_or_wholly_outside_the_frame_is_finite(centre):
    filter_ = started(centre=centre)
    for factor in (0.9, 1.0, 1.2):
        found = filter_.locate(zoomed(factor), centre, 1.0)
        assert 0.6 < found < 1.6
        filter_.learn(zoomed(factor), centre, found)


@pytest.mark.parametrize("target_px", [(1.0, 1.0), (4.0, 4.0), (4.0, 90.0), (300.0, 5.0)])
def test_tiny_and_narrow_targets_are_finite(target_px):
    filter_ = started(target_px)
    for factor in (0.95, 1.05):
        found = filter_.locate(zoomed(factor), CENTRE, 1.0)
        assert 0.6 < found < 1.6
        filter_.learn(zoomed(factor), CENTRE, found)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_uniform_frame_says_nothing(channels):
    frame = np.full((240, 320, channels), 90, np.uint8)
    filter_ = started(frame=frame)
    assert filter_.locate(frame, CENTRE, 1.0) == 1.0


def test_a_grey_frame_is_three_equal_channels():
    grey, factor = zoomed(1.0)[..., :1], zoomed(1.08)[..., :1]
    one, three = started(frame=grey), started(frame=grey.repeat(3, 2))
    assert one.locate(factor, CENTRE, 1.0) == pytest.approx(three.locate(factor.repeat(3, 2), CENTRE, 1.0))


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 1.0), (1.0, 1.1)])
def test_learning_rate_is_the_share_of_the_new_frame(rate, expected):
    """What is learned at another size is that size, or nothing."""
    filter_ = started(learning_rate=rate)
    filter_.learn(zoomed(1.0), CENTRE, 1.1)
    assert filter_.locate(zoomed(1.0), CENTRE, expected) == pytest.approx(1, abs=0.01)
