"""STRCF's solver against dense linear algebra."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.oracle.admm import AdmmProblem, f_step, g_step, solve

CHANNELS, CELLS = 2, 40


def spectrum(maps: np.ndarray) -> np.ndarray:
    """Half spectrum (rows, stored columns, …) of maps (rows, columns, …)."""
    return np.fft.rfft2(maps, axes=(0, 1)).astype(np.complex64)


def values(half: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.fft.irfft2(half, s=shape, axes=(0, 1))


def random_maps(shape: tuple[int, int], seed: int, channels: int = CHANNELS) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, channels))


def problem(shape: tuple[int, int], **changes: object) -> AdmmProblem:
    """A label without symmetry (it tells correlation from convolution), and a weight that is not constant."""
    rng = np.random.default_rng(9)
    defaults = AdmmProblem(
        label=spectrum(rng.normal(size=shape)),
        window=rng.uniform(0.2, 0.9, shape).astype(np.float32),
        cells=CELLS,
        temporal=0.3,
        iterations=2,
        penalty=0.5,
        penalty_growth=1.0,
        penalty_most=0.5,
    )
    return dataclasses.replace(defaults, **changes)


class DenseProblem:
    """What `solve` minimises, written out over cells, f (rows, columns, channels) as one vector.

    J(f) = |A f - y|^2 / (2 T) + |w f|^2 / 2 + mu |f - f'|^2 / 2, where A f is the sum over the channels of
    the circular correlations of x with f.
    """

    def __init__(self, problem: AdmmProblem, x: np.ndarray, previous: np.ndarray | None) -> None:
        rows, columns, channels = x.shape
        places = [(r, c) for r in range(rows) for c in range(columns)]
        self.matrix = np.stack([np.roll(x, place, (0, 1)).ravel() for place in places])
        self.label = values(problem.label, (rows, columns)).ravel()
        self.cells = problem.cells
        self.weight = np.repeat(problem.window.astype(np.float64).ravel() ** 2, channels)
        self.temporal = problem.temporal if previous is not None else 0.0
        self.previous = previous.ravel() if previous is not None else np.zeros(x.size)

    def objective(self, f: np.ndarray) -> float:
        f = f.ravel()
        data = ((self.matrix @ f - self.label) ** 2).sum() / self.cells
        return float(data + (self.weight * f**2).sum() + self.temporal * ((f - self.previous) ** 2).sum()) / 2

    def minimiser(self) -> np.ndarray:
        normal = self.matrix.T @ self.matrix / self.cells
        normal += np.diag(self.weight + self.temporal)
        right = self.matrix.T @ self.label / self.cells + self.temporal * self.previous
        return np.linalg.solve(normal, right)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6)])
@pytest.mark.parametrize("weight", [0.1, 15.1])
def test_f_step_solves_the_linear_system_of_every_frequency(shape: tuple[int, int], weight: float) -> None:
    x, right = spectrum(random_maps(shape, 0, 3)), spectrum(random_maps(shape, 1, 3))
    energy = (np.abs(x) ** 2).sum(-1)
    f = f_step(problem(shape), x, energy, right, weight)
    assert f.shape == x.shape
    assert f.dtype == np.complex64
    for index in np.ndindex(*x.shape[:2]):
        matrix = np.outer(x[index], x[index].conj()) / CELLS + weight * np.eye(3)
        np.testing.assert_allclose(f[index], np.linalg.solve(matrix, right[index]), rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6)])
def test_g_step_divides_every_cell_by_its_weight_and_the_penalty(shape: tuple[int, int]) -> None:
    window, maps = problem(shape).window, random_maps(shape, 2)
    g = g_step(window, spectrum(maps), 0.7)
    assert g.dtype == np.complex64
    expected = maps / (window.astype(np.float64) ** 2 + 0.7)[..., None]
    np.testing.assert_allclose(values(g, shape), expected, atol=1e-5)


def test_g_step_is_the_minimiser() -> None:
    """argmin_g |w g|^2 + gamma |f - g + h / gamma|^2: no step in any direction goes lower."""
    shape, gamma = (5, 6), 0.7
    window = problem(shape).window.astype(np.float64)
    f, h = random_maps(shape, 3), random_maps(shape, 4)

    def height(g: np.ndarray) -> float:
        return float(((window[..., None] * g) ** 2).sum() + gamma * ((f - g + h / gamma) ** 2).sum())

    g = values(g_step(problem(shape).window, spectrum(gamma * f + h), gamma), shape)
    for seed in range(20):
        step = 1e-2 * random_maps(shape, 100 + seed)
        assert height(g + step) > height(g)
    gradient = 2 * window[..., None] ** 2 * g - 2 * gamma * (f - g + h / gamma)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5), (5, 6), (6, 6)])
@pytest.mark.parametrize("temporal", [0.0, 0.3])
def test_many_iterations_reach_the_dense_minimiser(shape: tuple[int, int], temporal: float) -> None:
    x, previous = random_maps(shape, 5), random_maps(shape, 6)
    many = problem(shape, temporal=temporal, iterations=300)
    f = values(solve(many, spectrum(x), spectrum(previous)), shape)
    dense = DenseProblem(many, x, previous)
    np.testing.assert_allclose(f.ravel(), dense.minimiser(), atol=2e-4)
    assert dense.objective(f) == pytest.approx(dense.objective(dense.minimiser()), rel=1e-5)


def test_more_iterations_go_lower() -> None:
    shape = (6, 5)
    x, previous = random_maps(shape, 5), random_maps(shape, 6)
    dense = DenseProblem(problem(shape), x, previous)
    heights = [
        dense.objective(values(solve(problem(shape, iterations=n), spectrum(x), spectrum(previous)), shape))
        for n in (1, 2, 3, 5, 10, 20)
    ]
    assert heights == sorted(heights, reverse=True)
    best = dense.objective(dense.minimiser())
    assert heights[0] - best > 10 * (heights[-1] - best) >= 0


def test_a_growing_penalty_reaches_the_same_minimiser() -> None:
    shape = (5, 6)
    x, previous = random_maps(shape, 7), random_maps(shape, 8)
    growing = problem(shape, iterations=300, penalty=0.01, penalty_growth=1.5, penalty_most=0.5)
    f = values(solve(growing, spectrum(x), spectrum(previous)), shape)
    np.testing.assert_allclose(f.ravel(), DenseProblem(growing, x, previous).minimiser(), atol=2e-4)


def test_two_iterations_written_out() -> None:
    """What the trackers run: the limit also lowers the penalty, as with the authors' 1, 10 and 0.1."""
    shape = (6, 5)
    two = problem(shape, penalty=1.0, penalty_growth=10.0, penalty_most=0.1)
    x, previous = spectrum(random_maps(shape, 5)), spectrum(random_maps(shape, 6))
    fixed = x * two.label[..., None] / CELLS + two.temporal * previous

    def f_of(right: np.ndarray, gamma: float) -> np.ndarray:
        outer = x[..., :, None] * x[..., None, :].conj() / CELLS
        system = outer + (gamma + two.temporal) * np.eye(CHANNELS)
        return np.linalg.solve(system, right[..., None])[..., 0]

    first = f_of(fixed, 1.0)
    weight = (two.window.astype(np.float64) ** 2 + 1.0)[..., None]
    g = np.fft.rfft2(values(first, shape) / weight, axes=(0, 1))
    h = first - g
    second = f_of(fixed + 0.1 * g - h, 0.1)
    np.testing.assert_allclose(solve(two, x, previous), second, rtol=1e-3, atol=1e-4)
    one = dataclasses.replace(two, iterations=1)
    np.testing.assert_allclose(solve(one, x, previous), first, rtol=1e-3, atol=1e-4)


def test_a_large_temporal_weight_keeps_the_previous_filter() -> None:
    shape = (6, 5)
    x, previous = spectrum(random_maps(shape, 5)), spectrum(random_maps(shape, 6))
    distances = [
        np.abs(solve(problem(shape, temporal=mu), x, previous) - previous).max()
        for mu in (0.1, 10.0, 1e3, 1e5)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 1
    assert distances[-1] < 1e-3 * np.abs(previous).max()


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_the_first_frame_knows_no_temporal_weight(iterations: int) -> None:
    shape = (5, 6)
    x = spectrum(random_maps(shape, 5))
    free, strict = (problem(shape, temporal=mu, iterations=iterations) for mu in (0.0, 1e4))
    np.testing.assert_array_equal(solve(strict, x, None), solve(free, x, None))
    # Not the same as a previous filter of zeros, which holds the new one down.
    held = solve(strict, x, np.zeros_like(x))
    assert np.abs(held).max() < 1e-2 * np.abs(solve(strict, x, None)).max()


def test_solving_changes_neither_sample_nor_previous_filter() -> None:
    shape = (6, 5)
    x, previous = spectrum(random_maps(shape, 5)), spectrum(random_maps(shape, 6))
    kept = x.copy(), previous.copy()
    solve(problem(shape, iterations=4), x, previous)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(previous, kept[1])
