"""ECO's filter against sums and matrices written out, on grids of a few cells."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.trackers.eco_filter import gaussian_series, principal_axes
from edge_runtime.trackers.fourier import hann_window
from edge_runtime.trackers.interpolation import interpolation_series
from edge_runtime.trackers.regularisation import quadratic_window, sparse_window_spectrum
from edge_runtime.trackers.series import frequencies
from edge_runtime.trackers.settings import EcoConfig
from tests.oracle.eco_filter import EcoFilter, normalised
from tests.oracle.localisation import SeriesEvaluator, find_peak
from tests.oracle.series import column_weights, sample, shift_factors, to_series
from tests.oracle.test_joint_training import dense_filters
from tests.oracle.test_series import cell_angles, values, whole

SUPPORT_PX, BASE_PX = 144, (40.7, 32.9)
CHANNELS_IN = (6, 4, 5)
SHARP = {"window_least": 1e-4, "window_edge": 1e-2, "label_sigma": 0.2}  # as it is used, a cell wide


def make_filter(cells=(9, 5), channels=(3, 2), **settings) -> EcoFilter:
    """A mild spatial window by default, so that single precision reaches the dense solution."""
    blocks = len(cells)
    given = {"window_least": 0.05, "window_edge": 0.2, "samples": 4, "learning_rate": 0.2, **settings}
    names = ("hog", "gray", "cnn:high")[:blocks]
    config = EcoConfig(features=names, pooling=(1,) * blocks, channels=channels, **given)
    return EcoFilter(config, cells, SUPPORT_PX, BASE_PX)


def maps_of(cells, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = [rng.normal(size=(1, n, n, c)) for n, c in zip(cells, CHANNELS_IN, strict=False)]
    return [normalised(m.astype(np.float32))[0] for m in maps]


def started(cells=(9, 5), channels=(3, 2), shift=(0.0, 0.0), **settings) -> EcoFilter:
    filter_ = make_filter(cells, channels, **settings)
    filter_.learn_first(maps_of(cells), shift)
    return filter_


def peak_of(filter_: EcoFilter, maps):
    scores = filter_.respond(filter_.series(maps))
    evaluate = SeriesEvaluator(
        scores[None] * column_weights(scores.shape[1]), *frequencies(filter_.output_size)
    )
    return find_peak(evaluate, sample(scores[None]), 5)


def remember_some(filter_: EcoFilter, cells, count: int = 3) -> None:
    for seed in range(1, count + 1):
        filter_.remember(filter_.series(maps_of(cells, seed)), (0.1 * seed, -0.2))


def objective(filter_: EcoFilter, kernel: np.ndarray) -> float:
    """sum_j w_j |S_j f - y|^2 + <f, W^H W f>, the whole spectrum."""
    label, space = filter_.grids[0].label, filter_.space
    total = 0.0
    for index, weight in enumerate(space.weights[: space.count]):
        scores = filter_.respond(space.sample(index))
        total += float(weight) * (np.abs(whole(scores - label)) ** 2).sum()
    rows = [np.abs(kernel_applied(whole(f), kernel)) ** 2 for f in filter_.filters]
    return float(total + sum(r.sum() for r in rows))


def kernel_applied(f: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Full convolution of every channel, term by term."""
    rows, columns = kernel.shape
    out = np.zeros((len(f) + rows - 1, len(f) + columns - 1, f.shape[2]), complex)
    for (row, column), weight in np.ndenumerate(kernel):
        out[row : row + len(f), column : column + len(f)] += weight * f
    return out


def kernel_of(filter_: EcoFilter) -> np.ndarray:
    config = filter_.config
    window = quadratic_window(SUPPORT_PX, BASE_PX, config.window_least, config.window_edge)
    return sparse_window_spectrum(window, config.window_least, config.window_threshold)


@pytest.mark.parametrize(("size", "period"), [(15, 15), (9, 15)])
def test_gaussian_series_is_the_transform_of_a_sampled_periodic_gaussian(size, period):
    t = np.arange(8 * period) / 8
    periodic = sum(np.exp(-0.5 * ((t + turn * period) / 1.7) ** 2) for turn in range(-4, 5))
    k = np.arange(-(size // 2), size // 2 + 1)
    axis = (np.exp(-2j * np.pi * np.outer(k, t) / period) @ periodic).real / len(t)
    series = gaussian_series(size, 1.7, period)
    assert series.dtype == np.float32
    np.testing.assert_allclose(series, np.outer(axis, axis[size // 2 :]), rtol=1e-4, atol=1e-9)


def test_the_label_is_one_on_the_target_and_as_wide_as_its_whole_pixels_say():
    filter_ = make_filter((15, 9), label_sigma=0.5)
    label = sample(filter_.grids[0].label.astype(np.complex64))
    sigma = np.sqrt(40 * 32) * 0.5 * 15 / SUPPORT_PX
    assert label[0, 0] == pytest.approx(1, abs=1e-3)
    for row, column in [(1, 0), (0, -1), (2, 1)]:
        assert label[row, column] == pytest.approx(np.exp(-0.5 * (row**2 + column**2) / sigma**2), abs=1e-3)
    np.testing.assert_allclose(filter_.grids[1].label, filter_.grids[0].label[3:12, :5], rtol=1e-6)


def test_principal_axes_are_orthonormal_and_the_strongest_first():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(7, 8, 6)) @ rng.normal(size=(6, 6)) + 5
    axes = principal_axes(maps.astype(np.float32), 4)
    assert axes.dtype == np.float32
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-6)
    spread = np.linalg.svd((maps - maps.mean((0, 1))).reshape(-1, 6), compute_uv=False)
    found = np.linalg.norm(((maps - maps.mean((0, 1))) @ axes).reshape(-1, 4), axis=0)
    np.testing.assert_allclose(found, spread[:4], rtol=1e-4)


def test_normalised_samples_have_a_mean_square_of_one_each():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, 9, 9, 31)) * np.array([1e-3, 1, 30, 0])[:, None, None, None]
    done = normalised(maps.astype(np.float32))
    assert done.dtype == np.float32
    np.testing.assert_allclose((done**2).mean((1, 2, 3)), [1, 1, 1, 0], rtol=1e-4)
    for x, y in zip(maps[:3], done[:3], strict=True):
        assert np.ptp(y / x) < 1e-4 * (y / x).mean()


def test_response_is_the_circular_convolution_of_sample_and_filter():
    """Term by term, each grid's functions being evaluated on the cells of the output."""
    filter_ = make_filter()
    rng = np.random.default_rng(2)
    x, filter_.filters = (
        [to_series(rng.normal(size=(g.size, g.size, g.shape[2])).astype(np.float32)) for g in filter_.grids]
        for _ in range(2)
    )
    size = filter_.output_size
    angles = cell_angles(size)
    expected = np.zeros((size, size))
    for part, f in zip(x, filter_.filters, strict=True):
        for channel in range(f.shape[2]):
            a, b = (values(s[..., channel], angles, angles).real for s in (part, f))
            for row, column in np.ndindex(size, size):
                turned = np.roll(b[::-1, ::-1], (row + 1, column + 1), (0, 1))  # b(t - u) over u
                expected[row, column] += (a * turned).sum() / size**2
    np.testing.assert_allclose(sample(filter_.respond(x)), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("cells", [(9, 5, 5), (5, 9, 5), (4, 9, 4), (8, 5, 8)])
def test_series_are_projected_windowed_interpolated_and_ordered_by_grid(cells):
    channels = (3, 2, 1)
    filter_, maps = started(cells, channels), maps_of(cells, 7)
    found = filter_.series(maps)
    assert [g.size for g in filter_.grids] == [9, 5]
    for grid, series in zip(filter_.grids, found, strict=True):
        blocks = [b for b, n in enumerate(cells) if n + 1 - n % 2 == grid.size]
        assert grid.blocks == tuple(blocks)
        assert series.shape == grid.shape
        for b, where in zip(blocks, grid.channels, strict=True):
            window = hann_window(cells[b], cells[b])[..., None]
            expected = to_series((maps[b] @ filter_._projections[b]) * window)
            expected = expected * interpolation_series(grid.size)
            assert expected.shape[2] == channels[b]
            np.testing.assert_allclose(series[..., where], expected, atol=1e-6)


def test_the_first_sample_is_remembered_as_it_will_be_seen():
    filter_ = started()
    for kept, seen in zip(filter_.space.sample(0), filter_.series(maps_of((9, 5))), strict=True):
        np.testing.assert_allclose(kept, seen, atol=1e-6)


@pytest.mark.parametrize("cells", [(21, 11), (20, 10)])
@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (5.0, -3.5), (-10.0, 8.0)])
def test_the_first_sample_answers_where_its_target_is(cells, shift_px):
    """The label lies on the target, which is `shift` away from the sample's middle."""
    filter_ = started(cells, shift=tuple(2 * np.pi * s / SUPPORT_PX for s in shift_px), **SHARP)
    found = peak_of(filter_, maps_of(cells))
    per_px = filter_.output_size / SUPPORT_PX
    assert found.displacement == tuple(pytest.approx(s * per_px, abs=0.1) for s in shift_px)
    assert found.height > 0.5


@pytest.mark.parametrize("size", [21, 20])
@pytest.mark.parametrize("moved", [(1, 0), (0, -2), (-3, 2)])
def test_a_sample_that_moves_by_cells_moves_the_peak_by_them(size, moved):
    """Of an even map, whose period the odd grid of the response divides into one cell more."""
    filter_ = started((size,), (4,), **SHARP)
    maps = [np.roll(m, moved, (0, 1)) for m in maps_of((size,))]
    found = peak_of(filter_, maps)
    per_cell = filter_.output_size / size
    assert found.displacement == tuple(pytest.approx(m * per_cell, abs=0.3) for m in moved)


def test_remembering_brings_the_target_back_to_the_middle():
    filter_ = started()
    original = filter_.series(maps_of((9, 5), 3))
    shift = (0.5, -0.3)
    moved = [x * shift_factors(g.size, (-0.5, 0.3)) for x, g in zip(original, filter_.grids, strict=True)]
    before = [x.copy() for x in moved]
    filter_.remember(moved, shift)
    for kept, x in zip(filter_.space.sample(1), original, strict=True):
        np.testing.assert_allclose(kept, x, atol=1e-6)
    for x, copy in zip(moved, before, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(("cells", "channels"), [((9, 5), (3, 2)), ((7, 4), (2, 2)), ((7, 7), (1, 2))])
def test_training_ends_at_the_solution_of_the_normal_equations(cells, channels):
    filter_ = started(cells, channels, iterations=100)
    remember_some(filter_, cells)
    for _ in range(3):
        filter_.train()
    samples = [filter_.space.sample(i) for i in range(4)]
    expected = dense_filters(samples, filter_.space.weights, filter_.grids[0].label, kernel_of(filter_))
    scale = max(np.abs(f).max() for f in expected)
    for f, e in zip(filter_.filters, expected, strict=True):
        assert f.dtype == np.complex64
        np.testing.assert_allclose(whole(f), e, atol=2e-3 * scale)


def test_a_full_memory_trains_on_what_it_merged():
    filter_, cells = started(iterations=100, samples=2), (9, 5)
    remember_some(filter_, cells, 9)
    for _ in range(3):
        filter_.train()
    samples = [filter_.space.sample(i) for i in range(2)]
    assert filter_.space.count == 2
    # Second moments are those of the merged samples: nothing is left of those that went into them.
    expected = dense_filters(samples, filter_.space.weights, filter_.grids[0].label, kernel_of(filter_))
    for f, e in zip(filter_.filters, expected, strict=True):
        np.testing.assert_allclose(whole(f), e, atol=2e-3 * np.abs(e).max())


def test_every_training_lowers_the_objective():
    filter_ = started(**SHARP)
    kernel = kernel_of(filter_)
    remember_some(filter_, (9, 5))
    heights = [objective(filter_, kernel)]
    for _ in range(8):
        filter_.train()
        heights.append(objective(filter_, kernel))
    assert (np.diff(heights) < 0).all()


def test_the_search_direction_outlives_a_training():
    """As good as nothing is forgotten or learnt here: two short trainings are one long one."""
    short, long, once = (
        started(learning_rate=1e-6, iterations=iterations, **SHARP) for iterations in (3, 6, 3)
    )
    for filter_, trainings in ((short, 2), (long, 1), (once, 1)):
        remember_some(filter_, (9, 5), 1)
        for _ in range(trainings):
            filter_.train()
    scale = np.abs(long.filters[0]).max()
    np.testing.assert_allclose(short.filters[0], long.filters[0], atol=1e-3 * scale)
    assert np.abs(once.filters[0] - long.filters[0]).max() > 0.01 * scale
    assert started(learning_rate=0.011)._state.forget == pytest.approx(0.989**75)


def test_energies_follow_the_samples():
    filter_ = started()
    first = [e.copy() for e in filter_._energies]
    remember_some(filter_, (9, 5), 1)
    filter_.train()
    for before, x, after in zip(first, filter_.space.sample(1), filter_._energies, strict=True):
        np.testing.assert_allclose(after, 0.8 * before + 0.2 * np.abs(x) ** 2, rtol=1e-4, atol=1e-9)


def test_preconditioner_mixes_the_diagonal_of_the_normal_equations():
    kernel = kernel_of(make_filter())
    energy = np.random.default_rng(0).random((9, 5, 3)).astype(np.float32)
    diagonal = energy + (kernel.astype(float) ** 2).sum()
    own = make_filter(precondition_data=1.0, precondition_regularisation=0.5)._precondition(energy)
    np.testing.assert_allclose(own, diagonal / 2, rtol=1e-5)
    mean = make_filter(precondition_data=0.0, precondition_regularisation=0.5)._precondition(energy)
    np.testing.assert_allclose(mean, np.repeat(diagonal.mean(2, keepdims=True) / 2, 3, 2), rtol=1e-5)


def test_the_filter_stays_that_of_a_real_function():
    filter_, cells = started(learning_rate=0.011, samples=10), (9, 5)
    for seed in range(1, 60):
        filter_.remember(filter_.series(maps_of(cells, seed)), (0.3, -0.2))
        filter_.train()
    for f in filter_.filters:
        zero = f[:, 0]
        np.testing.assert_allclose(zero, zero[::-1].conj(), atol=1e-4 * np.abs(f).max())


def test_a_first_frame_without_features_is_made_good_by_the_next():
    cells, filter_ = (9, 5), make_filter(iterations=20)
    filter_.learn_first([np.zeros_like(m) for m in maps_of(cells)], (0.0, 0.0))
    assert all((f == 0).all() for f in filter_.filters)
    for _ in range(6):
        filter_.remember(filter_.series(maps_of(cells, 1)), (0.0, 0.0))
        filter_.train()
    found = peak_of(filter_, maps_of(cells, 1))
    assert found.displacement == (pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.1))
