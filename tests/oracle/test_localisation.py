"""Peaks of trigonometric polynomials whose place is known."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.trackers.eco_filter import gaussian_series
from edge_runtime.trackers.series import frequencies, half_columns
from tests.oracle.localisation import SeriesEvaluator, find_peak, refine
from tests.oracle.series import column_weights, sample, shift_factors, to_series
from tests.oracle.test_series import values

SIZE = 17


def weighted(series: np.ndarray) -> SeriesEvaluator:
    """For stored halves (scales, rows, columns)."""
    rows, columns = series.shape[1:]
    return SeriesEvaluator(series * column_weights(columns), *frequencies(rows))


def random_series(scales: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    maps = np.random.default_rng(seed).normal(size=(size, size, scales)).astype(np.float32)
    return np.moveaxis(to_series(maps), -1, 0) / np.float32(size**2)


def bump(displacement: tuple[float, float], height: float = 1.0, size: int = SIZE) -> np.ndarray:
    """The stored half of a Gaussian around a place in cells."""
    radians = tuple(-2 * np.pi * d / size for d in displacement)
    return (height * gaussian_series(size, 2.0, size) * shift_factors(size, radians)[..., 0]).astype(
        np.complex64
    )


def located(*series: np.ndarray, iterations: int = 5):
    stacked = np.stack(series)
    return find_peak(weighted(stacked), sample(stacked), iterations)


def test_value_and_derivatives_against_the_whole_sum_and_finite_differences():
    series = random_series(3)
    position = np.array([[0.3, -1.2], [2.9, 0.0], [-3.0, 1.7]])
    found = weighted(series)(position)
    assert found.shape == (3, 3, 3)
    step = 1e-3
    offsets = np.array([-step, 0, step])
    for x, (y0, x0), derivatives in zip(series, position, found, strict=True):
        around = values(x.astype(complex), y0 + offsets, x0 + offsets).real
        first, second = np.array([-1, 0, 1]) / (2 * step), np.array([1, -2, 1]) / step**2
        stencils = np.stack([[0, 1, 0], first, second])
        expected = stencils @ around @ stencils.T
        tolerance = 2e-5 * (SIZE / 2) ** np.add.outer(range(3), range(3))
        assert (np.abs(derivatives - expected) < tolerance).all()


@pytest.mark.parametrize(
    "true", [(0.0, 0.0), (0.4, -0.3), (3.49, 5.51), (-6.2, 7.8), (-8.4, -8.45), (8.3, 0.02)]
)
def test_finds_a_peak_between_the_cells(true):
    found = located(bump(true))
    assert found.displacement == (pytest.approx(true[0], abs=1e-4), pytest.approx(true[1], abs=1e-4))
    assert found.height == pytest.approx(1, abs=1e-5)
    assert found.scale == 0


def test_refines_from_the_neighbouring_cell():
    true = (2.3, -4.4)
    for cell in [(2, -4), (2, -5), (3, -4), (3, -5)]:
        start = 2 * np.pi / SIZE * np.array([cell], float)
        position, heights = refine(weighted(bump(true)[None]), start, 6)
        np.testing.assert_allclose(position[0] * SIZE / (2 * np.pi), true, atol=1e-4)
        assert heights[0] == pytest.approx(1, abs=1e-5)


def test_refining_leaves_its_start_alone():
    start = np.array([[0.2, 0.1]])
    refine(weighted(bump((0.0, 0.0))[None]), start, 3)
    np.testing.assert_array_equal(start, [[0.2, 0.1]])


def test_a_peak_that_is_not_round():
    """Cross derivatives count: a Gaussian along a diagonal."""
    y, x = np.meshgrid(*[(np.arange(31) - 15.0) for _ in range(2)], indexing="ij")
    y, x = y - 1.35, x + 2.2
    ridge = np.exp(-((y + x) ** 2) / 24 - (y - x) ** 2 / 6)
    series = to_series(np.fft.ifftshift(ridge)[..., None].astype(np.float32))[..., 0] / 31**2
    found = located(series.astype(np.complex64))
    assert found.displacement == (pytest.approx(1.35, abs=1e-4), pytest.approx(-2.2, abs=1e-4))


def test_without_iterations_the_grid_decides():
    found = located(bump((2.3, -4.4)), iterations=0)
    assert found.displacement == (pytest.approx(2), pytest.approx(-4))
    assert found.height == pytest.approx(np.exp(-0.5 * (0.3**2 + 0.4**2) / 4), abs=1e-4)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_the_highest_of_the_scales_wins(best):
    places = [(1.2, 0.3), (-4.5, 2.2), (6.6, -7.1)]
    found = located(*(bump(p, 1.0 if s == best else 0.97) for s, p in enumerate(places)))
    assert found.scale == best
    assert found.displacement == tuple(pytest.approx(d, abs=1e-4) for d in places[best])


def test_scales_are_compared_between_the_cells():
    """On the grid the second is higher, its peak being on a cell; in truth the first is."""
    between, on = bump((2.5, 2.5)), bump((-3.0, 4.0), 0.96)
    assert sample(on).max() > sample(between).max()
    assert located(between, on).scale == 0


def test_what_leads_downhill_is_not_taken():
    trough = -bump((0.0, 0.0))[None]
    start = np.array([[0.05, -0.1], [0.0, 0.0]])
    evaluate = weighted(np.repeat(trough, 2, 0))
    position, heights = refine(evaluate, start, 5)
    np.testing.assert_array_equal(position, start)
    np.testing.assert_allclose(heights, evaluate(start)[:, 0, 0])


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_a_flat_response_stays_where_it_is(value):
    series = np.zeros((2, SIZE, half_columns(SIZE)), np.complex64)
    series[:, SIZE // 2, 0] = value
    with np.errstate(all="raise"):
        found = find_peak(weighted(series), sample(series), 5)
    assert found.displacement == (0, 0)
    assert found.height == value


def test_constant_along_one_axis_is_flat_enough():
    series = np.where(np.arange(half_columns(SIZE)) == 0, bump((2.3, 0.0)), 0)
    found = located(series.astype(np.complex64))
    assert np.isfinite([*found.displacement, found.height]).all()
    assert found.height == pytest.approx(sample(series).max(), rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_stays_inside_the_map(bad):
    series = random_series(2)
    series[:, 3, 2] = bad
    with np.errstate(all="ignore"):
        found = find_peak(weighted(series), sample(series), 5)
    assert all(abs(d) <= SIZE / 2 for d in found.displacement)


def test_random_responses_are_never_below_their_grid_maximum():
    series = random_series(40, seed=3)
    samples = sample(series)
    for x, values_ in zip(series, samples, strict=True):
        found = located(x)
        assert found.height >= values_.max() - 1e-5
        down, across = (np.array([2 * np.pi * d / SIZE]) for d in found.displacement)
        assert found.height == pytest.approx(values(x, down, across).real.item(), abs=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (4, 4)])
def test_a_peak_on_a_cell_of_any_grid(shape):
    """STRCF's maps may be even: the samples alone say which cell is highest."""
    rows, columns = shape
    still = SeriesEvaluator(
        np.zeros((1, *shape), np.complex64),
        np.fft.fftfreq(rows, 1 / rows).astype(np.float32),
        np.arange(columns, dtype=np.float32),
    )
    for row, column in np.ndindex(rows, columns):
        samples = np.zeros((1, *shape), np.float32)
        samples[0, row, column] = 1
        down, across = find_peak(still, samples, 3).displacement
        assert (round(down) - row) % rows == (round(across) - column) % columns == 0
        assert np.hypot(down - round(down), across - round(across)) < 1e-9
        assert abs(down) <= rows / 2
        assert abs(across) <= columns / 2
