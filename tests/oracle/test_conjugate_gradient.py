"""Conjugate gradient against direct solutions of small systems."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle.conjugate_gradient import DirectionState, conjugate_gradient
from tests.oracle.joint_training import inner_product

N = 12


def dot(a, b) -> float:
    return sum(float(np.vdot(left, right).real) for left, right in zip(a, b, strict=True))


def positive_definite(size: int, seed: int, spread: float = 30.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(size, size)))
    return axes * np.geomspace(1, spread, size) @ axes.T


class Problem:
    """A x = b in one float64 vector, from zero and unpreconditioned unless told."""

    def __init__(self, seed: int = 0, spread: float = 30.0) -> None:
        rng = np.random.default_rng(seed + 100)
        self.a, self.b = positive_definite(N, seed, spread), rng.normal(size=N)
        self.solution = np.linalg.solve(self.a, self.b)

    def apply(self, x):
        return [self.a @ x[0]]

    def solve(self, iterations, state=None, start=None, diagonal=None):
        start = np.zeros(N) if start is None else start
        diagonal = np.ones(N) if diagonal is None else diagonal
        (x,) = conjugate_gradient(
            self.apply, [self.b], [start], [diagonal], inner=dot, iterations=iterations, state=state
        )
        return x

    def objective(self, x) -> float:
        return x @ self.a @ x / 2 - self.b @ x


@pytest.mark.parametrize("keep", [False, True])
def test_as_many_iterations_as_unknowns_give_the_solution(keep):
    problem, state = Problem(), DirectionState() if keep else None
    start = np.random.default_rng(7).normal(size=N)
    np.testing.assert_allclose(problem.solve(N, state, start), problem.solution, atol=1e-8)


def test_mixed_half_spectra_and_real_arrays_under_the_inner_product():
    """A half spectrum (3, 2, 2) and a real matrix (2, 3); columns but the zero one count twice."""
    counts = np.repeat(np.tile([1.0, 2.0], 3), 2)
    counts = np.concatenate([counts, counts, np.ones(6)])
    size = len(counts)
    # Symmetric under the inner product u^T diag(counts) v is what counts turns into a symmetric matrix.
    a = positive_definite(size, 3) / counts[:, None]
    b = np.random.default_rng(4).normal(size=size)

    def split(v):
        real, imaginary = (v[12 * i : 12 * i + 12].reshape(3, 2, 2) for i in (0, 1))
        return [(real + 1j * imaginary).astype(np.complex64), v[24:].reshape(2, 3).astype(np.float32)]

    def join(x):
        return np.concatenate([x[0].real.ravel(), x[0].imag.ravel(), x[1].ravel()])

    found = conjugate_gradient(
        lambda x: split(a @ join(x)),
        split(b),
        split(np.zeros(size)),
        [np.full((3, 2, 2), 2.0, np.float32), np.asarray(0.5, np.float32)],
        inner=inner_product,
        iterations=3 * size,
    )
    assert [x.dtype for x in found] == [np.complex64, np.float32]
    np.testing.assert_allclose(join(found), np.linalg.solve(a, b), atol=2e-4)


def test_the_diagonal_of_a_diagonal_system_solves_it_in_one_step():
    problem = Problem()
    problem.a = np.diag(np.geomspace(1, 1e4, N))
    x = problem.solve(1, diagonal=np.diag(problem.a))
    np.testing.assert_allclose(x, problem.b / np.diag(problem.a), rtol=1e-10)


def test_a_good_preconditioner_helps_and_keeps_the_solution():
    problem = Problem()
    stretch = np.geomspace(1, 100, N)
    problem.a = stretch[:, None] * problem.a * stretch
    solution = np.linalg.solve(problem.a, problem.b)
    diagonal = np.diag(problem.a)
    reached = [problem.objective(problem.solve(4, diagonal=m)) for m in (diagonal, np.ones(N))]
    assert reached[0] < reached[1]
    np.testing.assert_allclose(problem.solve(3 * N, diagonal=diagonal), solution, rtol=1e-6)


def test_every_step_minimises_over_the_directions_so_far():
    """The k-th iterate is the best in the span of b, A b, … A^(k-1) b."""
    problem = Problem()
    for k in range(1, 6):
        krylov = np.stack([np.linalg.matrix_power(problem.a, i) @ problem.b for i in range(k)], 1)
        basis, _ = np.linalg.qr(krylov)
        best = basis @ np.linalg.solve(basis.T @ problem.a @ basis, basis.T @ problem.b)
        np.testing.assert_allclose(problem.solve(k), best, atol=1e-8)
        np.testing.assert_allclose(problem.solve(k, DirectionState()), best, atol=1e-8)


@pytest.mark.parametrize("diagonal", [None, np.linspace(0.5, 3, N)])
def test_with_nothing_forgotten_two_calls_are_one_call_of_both_iterations(diagonal):
    problem, state = Problem(), DirectionState(forget=1.0)
    first = problem.solve(3, state, diagonal=diagonal)
    second = problem.solve(4, state, first, diagonal)
    np.testing.assert_allclose(second, problem.solve(7, diagonal=diagonal), atol=1e-9)


def test_forgetting_divides_how_much_of_the_last_direction_goes_on():
    problem, forget = Problem(), 0.4
    state = DirectionState(forget)
    x = problem.solve(3, state)
    direction, before, rho = state.direction[0], state.residual[0], state.rho
    residual = problem.b - problem.a @ x
    beta = forget * (residual @ residual - before @ residual) / rho
    assert beta > 0.01
    direction = residual + beta * direction
    expected = x + residual @ residual / (direction @ problem.a @ direction) * direction
    np.testing.assert_allclose(problem.solve(1, state, x), expected, atol=1e-9)


@pytest.mark.parametrize("forget", [1.0, 0.44, 0.01])
def test_a_second_call_on_the_same_problem_goes_on_downwards(forget):
    problem, state = Problem(spread=1e4), DirectionState(forget)
    heights = [0.0]
    x = np.zeros(N)
    for _ in range(5):
        x = problem.solve(2, state, x)
        heights.append(problem.objective(x))
    assert (np.diff(heights) < 0).all()


def test_a_direction_that_points_back_is_dropped():
    problem = Problem()
    z = problem.b
    state = DirectionState(1.0, direction=[np.ones(N)], residual=[2 * z], rho=1.0)
    np.testing.assert_allclose(problem.solve(1, state), problem.solve(1), atol=1e-12)


@pytest.mark.parametrize("keep", [False, True])
def test_nothing_to_do_changes_nothing(keep):
    problem, state = Problem(), DirectionState(0.5) if keep else None
    problem.b = np.zeros(N)
    np.testing.assert_array_equal(problem.solve(5, state), np.zeros(N))


def test_after_nothing_to_do_the_state_starts_afresh():
    problem, state = Problem(), DirectionState(0.5)
    b, problem.b = problem.b, np.zeros(N)
    problem.solve(5, state)
    problem.b = b
    np.testing.assert_allclose(problem.solve(3, state), problem.solve(3), atol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("keep", [False, True])
def test_what_is_not_a_number_stops_at_the_start(bad, keep):
    problem, state = Problem(), DirectionState(0.5) if keep else None
    problem.b = np.full(N, bad)
    calls = []
    apply = problem.apply
    problem.apply = lambda x: calls.append(x) or apply(x)
    start = np.ones(N)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(problem.solve(1000, state, start), start)
    assert len(calls) <= 2


def test_a_system_without_a_minimum_stops():
    problem = Problem()
    problem.a = -problem.a
    np.testing.assert_array_equal(problem.solve(1000), np.zeros(N))


@pytest.mark.parametrize("keep", [False, True])
def test_inputs_stay_as_they_were(keep):
    problem, state = Problem(), DirectionState(0.5) if keep else None
    start, diagonal = np.ones(N), np.full(N, 2.0)
    for _ in range(2):
        old = list(state.direction) + list(state.residual) if state else []
        kept = [start, diagonal, problem.a, problem.b, *old]
        copies = [array.copy() for array in kept]
        problem.solve(4, state, start, diagonal)
        for array, copy in zip(kept, copies, strict=True):
            np.testing.assert_array_equal(array, copy)
