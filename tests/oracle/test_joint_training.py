"""Filter and projection together against dense matrices, and against the objective written out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.signal import convolve2d

from edge_runtime.trackers.eco_filter import gaussian_series, principal_axes
from edge_runtime.trackers.regularisation import quadratic_window, sparse_window_spectrum
from tests.oracle.joint_training import JointProblem, inner_product, train_jointly
from tests.oracle.regularisation import SpectralConvolution
from tests.oracle.series import column_weights, to_series
from tests.oracle.test_series import whole

KERNEL = sparse_window_spectrum(quadratic_window(60, (20, 25), 0.05, 0.3), 0.05, 0.05)
# Size of the grid, channels before and after projection.
SMALL = [(3, 2, 1), (5, 3, 2)]
LARGE = [(9, 6, 3), (5, 5, 2)]
FIXED = 1e12  # a preconditioner that keeps the projection where it is


def make_problem(blocks, precondition: float, regularisation: float = 5e-8, seed: int = 0):
    """A problem with noise for features, and its first projections."""
    rng = np.random.default_rng(seed)
    largest = max(size for size, _, _ in blocks)
    maps = [rng.normal(size=(size, size, channels)).astype(np.float32) for size, channels, _ in blocks]
    projections = [principal_axes(m, out) for m, (_, _, out) in zip(maps, blocks, strict=True)]
    samples = [to_series(m) / np.float32(m[..., 0].size) for m in maps]
    labels = [gaussian_series(size, 1.0, largest) for size, _, _ in blocks]
    regularise = SpectralConvolution(KERNEL)
    energies = [np.abs(x @ p) ** 2 for x, p in zip(samples, projections, strict=True)]
    channels_in = sum(channels for _, channels, _ in blocks)
    squares = [2 * float(np.square(y).sum()) / channels_in + regularisation for y in labels]
    problem = JointProblem(
        samples=samples,
        labels=labels,
        regularise=regularise,
        projection_regularisation=regularisation,
        filter_precondition=[0.3 * e + 0.7 * e.mean(2, keepdims=True) + 0.01 for e in energies],
        projection_precondition=[precondition * square for square in squares],
    )
    return problem, projections


def score(problem: JointProblem, projections, filters) -> np.ndarray:
    """sum_b (x_b P_b)^T f_b over the whole spectrum of the largest grid."""
    largest = max(len(x) for x in problem.samples)
    total = np.zeros((largest, largest), complex)
    for x, p, f in zip(problem.samples, projections, filters, strict=True):
        start, size = (largest - len(x)) // 2, len(x)
        part = np.einsum("rkc,cd,rkd->rk", whole(x), p, whole(f))
        total[start : start + size, start : start + size] += part
    return total


def penalty(filters) -> float:
    """The sum of |W f|^2."""
    convolved = [convolve2d(whole(c), KERNEL) for f in filters for c in np.moveaxis(f, -1, 0)]
    return float(sum((np.abs(c) ** 2).sum() for c in convolved))


def objective(problem: JointProblem, projections, filters) -> float:
    label = whole(max(problem.labels, key=len))
    data = (np.abs(score(problem, projections, filters) - label) ** 2).sum()
    ridge = problem.projection_regularisation * sum((p**2).sum() for p in projections)
    return float(data + penalty(filters) + ridge)


def dense_filters(samples, weights, label: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
    """Least squares over the whole spectrum: sum_j w_j |sum_b x_jb^T f_b - y|^2 + sum_b |W f_b|^2.

    Args:
        samples: stored halves (rows, columns, channels), per sample and per block.
        label: stored half on the largest grid.
    """
    label = whole(label)
    shapes = [whole(x).shape for x in samples[0]]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    gram, right = np.zeros((ends[-1], ends[-1]), complex), np.zeros(ends[-1], complex)
    for sample, weight in zip(samples, weights, strict=True):
        a = np.zeros((*label.shape, ends[-1]), complex)
        for x, end in zip(sample, ends, strict=True):
            start, full = (len(label) - len(x)) // 2, whole(x)
            for n, (row, column, channel) in enumerate(np.ndindex(full.shape), end - full.size):
                a[start + row, start + column, n] = full[row, column, channel]
        a = a.reshape(label.size, -1)
        gram += weight * a.conj().T @ a
        right += weight * a.conj().T @ label.ravel()
    for (size, _, channels), end in zip(shapes, ends, strict=True):
        units = [convolve2d(unit.reshape(size, size), kernel).ravel() for unit in np.eye(size**2)]
        energy = np.kron(np.stack(units) @ np.stack(units).T, np.eye(channels))
        gram[end - len(energy) : end, end - len(energy) : end] += energy
    parts = np.split(np.linalg.solve(gram, right), ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


class DenseTraining:
    """The same Gauss-Newton and conjugate gradient on one real vector, with matrices, in double precision.

    The vector holds the real and the imaginary parts of the stored halves, then the projections.
    """

    def __init__(self, problem: JointProblem, projections) -> None:
        self.problem, self.projections = problem, [p.astype(float) for p in projections]
        self.filters = [
            np.zeros((*y.shape, p.shape[1]), complex)
            for y, p in zip(problem.labels, projections, strict=True)
        ]
        self.label = max(problem.labels, key=len)
        ones = [np.ones(f.shape) * column_weights(f.shape[1])[:, None] for f in self.filters]
        self.metric = self.pack([w + 1j * w for w in ones], [np.ones(p.shape) for p in projections])
        self.diagonal = self.pack(
            [m * (1 + 1j) for m in problem.filter_precondition],
            [np.full(p.shape, m) for p, m in zip(projections, problem.projection_precondition, strict=True)],
        )

    @staticmethod
    def pack(filters, projections) -> np.ndarray:
        parts = [*(f.real for f in filters), *(f.imag for f in filters), *projections]
        return np.concatenate([np.ravel(part) for part in parts])

    def unpack(self, vector: np.ndarray):
        shapes = [*(f.shape for f in self.filters)] * 2 + [p.shape for p in self.projections]
        ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
        arrays = [part.reshape(s) for part, s in zip(np.split(vector, ends), shapes, strict=True)]
        count = len(self.filters)
        halves = [a + 1j * b for a, b in zip(arrays[:count], arrays[count : 2 * count], strict=True)]
        return halves, arrays[2 * count :]

    def linear_score(self, vector: np.ndarray) -> np.ndarray:
        """x^T P f + x^T dP f0, stored half of the largest grid, real parts first."""
        filters, increments = self.unpack(vector)
        total = np.zeros(self.label.shape, complex)
        for b, x in enumerate(self.problem.samples):
            start = (len(total) - len(x)) // 2
            part = np.einsum("rkc,cd,rkd->rk", x, self.projections[b], filters[b])
            part = part + np.einsum("rkc,cd,rkd->rk", x, increments[b], self.filters[b])
            total[start : start + len(x), : x.shape[1]] += part
        return np.concatenate([total.real.ravel(), total.imag.ravel()])

    def penalty(self, vector: np.ndarray) -> np.ndarray:
        filters, increments = self.unpack(vector)
        done = [self.problem.regularise(f.astype(np.complex64)) for f in filters]
        return self.pack(done, [self.problem.projection_regularisation * p for p in increments])

    def step(self, iterations: int) -> None:
        size = len(self.metric)
        jacobian = np.stack([self.linear_score(unit) for unit in np.eye(size)], 1)
        count = np.broadcast_to(column_weights(self.label.shape[1]), self.label.shape).ravel()
        back = (jacobian * np.tile(count, 2)[:, None]).T / self.metric[:, None]
        # The projection does not see the column of zero frequency.
        of_projections = slice(size - sum(p.size for p in self.projections), size)
        back[of_projections] *= np.tile(count != 1, 2)
        a = back @ jacobian + np.stack([self.penalty(unit) for unit in np.eye(size)], 1)
        label = np.concatenate([self.label.ravel(), np.zeros(self.label.size)])
        zeros = [np.zeros(p.shape) for p in self.projections]
        kept = self.penalty(self.pack([f * 0 for f in self.filters], self.projections))
        x = self.descend(a, back @ label - kept, self.pack(self.filters, zeros), iterations)
        self.filters, increments = self.unpack(x)
        self.projections = [p + dp for p, dp in zip(self.projections, increments, strict=True)]

    def descend(self, a: np.ndarray, b: np.ndarray, x: np.ndarray, iterations: int) -> np.ndarray:
        residual = b - a @ x
        z = direction = residual / self.diagonal
        for _ in range(iterations):
            rho = self.metric * residual @ z
            alpha = rho / (self.metric * direction @ (a @ direction))
            x, residual = x + alpha * direction, residual - alpha * (a @ direction)
            z = residual / self.diagonal
            direction = z + (self.metric * residual @ z) / rho * direction
        return x


def test_inner_product_is_that_of_whole_spectra_and_real_matrices():
    rng = np.random.default_rng(0)
    a, b = (
        [to_series(rng.normal(size=(n, n, 2)).astype(np.float32)) for n in (7, 3)]
        + [rng.normal(size=(4, 3)).astype(np.float32)]
        for _ in range(2)
    )
    expected = sum(np.vdot(whole(x), whole(y)).real for x, y in zip(a[:2], b[:2], strict=True))
    expected += float((a[2] * b[2]).sum())
    assert inner_product(a, b) == pytest.approx(expected, rel=1e-4)
    assert isinstance(inner_product(a, b), float)


@pytest.mark.parametrize("blocks", [SMALL, SMALL[::-1], SMALL[1:], [*SMALL, (5, 2, 2)]])
def test_with_the_projection_held_the_filter_is_the_dense_least_squares_solution(blocks):
    problem, projections = make_problem(blocks, precondition=FIXED)
    filters, kept = train_jointly(problem, projections, 2, 80)
    for p, q in zip(projections, kept, strict=True):
        np.testing.assert_allclose(q, p, atol=1e-6)
    projected = [x @ p for x, p in zip(problem.samples, projections, strict=True)]
    expected = dense_filters([projected], [1.0], max(problem.labels, key=len), KERNEL)
    scale = max(np.abs(f).max() for f in expected)
    for f, e in zip(filters, expected, strict=True):
        assert f.dtype == np.complex64
        np.testing.assert_allclose(whole(f), e, atol=1e-3 * scale)


@pytest.mark.parametrize("blocks", [SMALL, SMALL[1:]])
@pytest.mark.parametrize(("precondition", "regularisation"), [(0.2, 1e-4), (1.0, 1e-4), (1.0, 0.03)])
def test_against_gauss_newton_with_dense_matrices(blocks, precondition, regularisation):
    problem, projections = make_problem(blocks, precondition, regularisation)
    dense = DenseTraining(problem, projections)
    for iterations in (1, 2, 3, 4):
        filters, learnt = train_jointly(problem, projections, iterations, 5)
        dense.step(5)
        for f, e in zip(filters, dense.filters, strict=True):
            np.testing.assert_allclose(f, e, atol=1e-3 * np.abs(e).max())
        for p, e in zip(learnt, dense.projections, strict=True):
            np.testing.assert_allclose(p, e, atol=1e-3)
    moved = max(np.abs(p - q).max() for p, q in zip(learnt, projections, strict=True))
    assert moved > 0.01


def test_every_gauss_newton_iteration_lowers_the_objective():
    problem, projections = make_problem(LARGE, precondition=35)
    heights = []
    for iterations in range(1, 11):
        filters, learnt = train_jointly(problem, projections, iterations, 20)
        heights.append(objective(problem, learnt, filters))
    assert (np.diff(heights) < 0).all()
    held = dataclasses.replace(problem, projection_precondition=[FIXED] * 2)
    filters, kept = train_jointly(held, projections, 2, 200)
    assert heights[-1] < 0.95 * objective(held, kept, filters)


def test_the_objective_is_lowest_at_the_filter_for_its_projection():
    problem, projections = make_problem(LARGE, precondition=FIXED)
    filters, learnt = train_jointly(problem, projections, 1, 200)
    lowest = objective(problem, learnt, filters)
    rng = np.random.default_rng(1)
    for _ in range(10):
        steps = [to_series(rng.normal(size=(len(f), len(f), f.shape[2]))) * 1e-4 for f in filters]
        up, down = (
            objective(problem, learnt, [f + sign * d for f, d in zip(filters, steps, strict=True)]) - lowest
            for sign in (1, -1)
        )
        assert min(up, down) > 0
        assert up == pytest.approx(down, rel=0.02)


def test_what_is_constant_along_a_row_teaches_the_projection_nothing():
    """All of such a sample's energy is at kx = 0, which the projection's part leaves out."""
    problem, projections = make_problem(SMALL, precondition=1.0, regularisation=1e-6)
    flat = [np.where(np.arange(x.shape[1])[:, None] == 0, x, 0) for x in problem.samples]
    filters, learnt = train_jointly(dataclasses.replace(problem, samples=flat), projections, 3, 5)
    assert np.abs(filters[1]).max() > 0.01
    for p, q in zip(projections, learnt, strict=True):
        np.testing.assert_allclose(q, p, atol=1e-4)
    upright = [np.where(np.arange(len(x))[:, None, None] == len(x) // 2, x, 0) for x in problem.samples]
    _, learnt = train_jointly(dataclasses.replace(problem, samples=upright), projections, 3, 5)
    assert max(np.abs(p - q).max() for p, q in zip(projections, learnt, strict=True)) > 0.01


def test_the_filters_zero_column_is_symmetric_to_the_last_bit():
    problem, projections = make_problem(LARGE, precondition=35)
    filters, _ = train_jointly(problem, projections, 2, 10)
    for f in filters:
        zero = np.delete(f[:, 0], len(f) // 2, 0)
        np.testing.assert_array_equal(zero, zero[::-1].conj())


def test_the_first_projections_and_the_samples_stay_as_they_were():
    problem, projections = make_problem(SMALL, precondition=1.0)
    kept = [*problem.samples, *problem.labels, *projections]
    copies = [array.copy() for array in kept]
    train_jointly(problem, projections, 2, 5)
    for array, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
