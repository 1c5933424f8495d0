"""The compiled KCF filter against kernel ridge regression by brute force and against its NumPy oracle."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.core import kernels
from edge_runtime.trackers.fourier import gaussian_label, hann_window
from tests.oracle.fourier import peak, peak_to_sidelobe_ratio
from tests.oracle.kcf import KernelFilter

SIGMAS = [0.0, 0.6, 5.0]
SIZES = [5, 6, 14, 24]


def made(n: int, channels: int, sigma: float = 0.0, ridge: float = 0.1, **changes: np.ndarray) -> object:
    given = {"window": hann_window(n, n), "label": gaussian_label(n, n, 1.5)} | changes
    return kernels.KcfCore(
        given["window"], given["label"], channels=channels, ridge=ridge, sigma=sigma, exclude_cells=2
    )


def flat(n: int) -> np.ndarray:
    return np.ones((n, n), np.float32)


def maps(n: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, n, channels)).astype(np.float32)


def response(core: object, n: int) -> np.ndarray:
    out = np.empty((n, n), np.float32)
    core.response(out)
    return out


class Oracle:
    """The same calls on the NumPy filter."""

    def __init__(self, n: int, sigma: float, ridge: float, first: np.ndarray) -> None:
        self.window = hann_window(n, n)
        self.filter = KernelFilter(gaussian_label(n, n, 1.5), ridge, sigma or None)
        self.window = self.window / np.sqrt(np.mean((first * self.window[..., None]) ** 2))
        self.filter.learn(self.sample(first), 1.0)

    def sample(self, x: np.ndarray) -> np.ndarray:
        return (x * self.window[..., None]).transpose(2, 0, 1).astype(np.float32)

    def respond(self, x: np.ndarray) -> np.ndarray:
        self.last = x
        return self.filter.respond(self.sample(x)[None])[0]

    def learn(self, down: float, right: float, rate: float) -> None:
        whole = round(down), round(right)
        moved = np.roll(self.last, (-whole[0], -whole[1]), (0, 1))
        self.filter.learn(self.sample(moved), rate, (down - whole[0], right - whole[1]))


class DenseRegression:
    """Kernel ridge regression over all circular shifts of one sample (n, n, channels), as its definition."""

    def __init__(self, x: np.ndarray, label: np.ndarray, ridge: float, sigma: float) -> None:
        self.sigma, self.n = sigma, len(x)
        self.template = x.astype(np.float64)
        gram = self.kernel(self.shifts(self.template))
        self.dual = np.linalg.solve(gram + ridge * np.eye(len(gram)), label.ravel().astype(np.float64))

    def shifts(self, x: np.ndarray) -> np.ndarray:
        """Row (r, c) is x moved back by r and c: what it would be had it not been displaced so far."""
        places = [(-r, -c) for r in range(self.n) for c in range(self.n)]
        return np.array([np.roll(x, place, (0, 1)).ravel() for place in places])

    def kernel(self, samples: np.ndarray) -> np.ndarray:
        """Of all samples and all shifts of the template, pair by pair."""
        template = self.shifts(self.template)
        if not self.sigma:
            return samples @ template.T / self.template.size
        distance = ((samples[:, None] - template[None]) ** 2).sum(-1) / self.template.size
        return np.exp(-distance / self.sigma**2)

    def respond(self, z: np.ndarray) -> np.ndarray:
        return (self.kernel(self.shifts(z.astype(np.float64))) @ self.dual).reshape(self.n, self.n)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("channels", [1, 3, 17])
@pytest.mark.parametrize("n", [5, 6, 8])
def test_the_filter_equals_the_dense_ridge_regression(n: int, channels: int, sigma: float) -> None:
    """The closed form equals kernel ridge regression over all circular shifts."""
    x, near = maps(n, channels), maps(n, channels, seed=1)
    x = x / np.sqrt(np.mean(x**2))
    z = x + 0.5 * near  # not so far from x that the Gaussian kernel is zero
    # A label without symmetry tells correlation from convolution.
    for label in (gaussian_label(n, n, 1.0), maps(n, 1, seed=2)[..., 0]):
        core = made(n, channels, sigma, window=flat(n), label=label)
        core.start(x)
        core.detect(z)
        expected = DenseRegression(x, label, 0.1, sigma).respond(z)
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(response(core, n), expected, atol=2e-4)


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_template_and_dual_coefficients_are_averaged_separately(sigma: float) -> None:
    first, second, z = (maps(6, 2, seed) for seed in (4, 5, 6))
    first = first / np.sqrt(np.mean(first**2))
    label = gaussian_label(6, 6, 1.0)
    core = made(6, 2, sigma, ridge=0.2, window=flat(6), label=label)
    core.start(first)
    core.detect(second)
    core.learn(0.0, 0.0, 0.3)
    core.detect(z)
    dense, other = (DenseRegression(x, label, 0.2, sigma) for x in (first, second))
    dense.template += 0.3 * (other.template - dense.template)
    dense.dual += 0.3 * (other.dual - dense.dual)
    np.testing.assert_allclose(response(core, 6), dense.respond(z), atol=2e-4)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("channels", [1, 4, 31, 32, 64])
@pytest.mark.parametrize("n", SIZES)
def test_frames_are_those_of_the_oracle(n: int, channels: int, sigma: float) -> None:
    rng = np.random.default_rng(n + channels)
    base = maps(n, channels, seed=7)
    core, ridge = made(n, channels, sigma, ridge=1e-2), 1e-2
    core.start(base)
    oracle = Oracle(n, sigma, ridge, base)
    for k in range(6):
        z = np.roll(base, (k % 3, -k), (0, 1)) + 0.3 * maps(n, channels, seed=20 + k)
        expected = oracle.respond(z)
        down, right, psr = core.detect(z)
        np.testing.assert_allclose(response(core, n), expected, atol=2e-4 * np.abs(expected).max() + 1e-5)
        assert (down, right) == pytest.approx(peak(expected), abs=2e-2)
        assert psr == pytest.approx(peak_to_sidelobe_ratio(expected, 2), rel=5e-3)
        shift = (float(rng.uniform(-3, 3)), float(rng.uniform(-3, 3)))
        oracle.learn(*shift, 0.1)
        core.learn(*shift, 0.1)


@pytest.mark.parametrize("shift", [(0, 0), (3, 0), (0, -4), (-2, 5)])
@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_a_shifted_sample_moves_the_peak_by_the_shift(shift: tuple[int, int], sigma: float) -> None:
    x = maps(20, 4, seed=1)
    core = made(20, 4, sigma, ridge=1e-3, window=flat(20))
    core.start(x)
    down, right, psr = core.detect(np.roll(x, shift, (0, 1)))
    assert (down, right) == (pytest.approx(shift[0], abs=0.05), pytest.approx(shift[1], abs=0.05))
    assert response(core, 20).max() == pytest.approx(1.0, abs=0.05)
    assert psr > 10


@pytest.mark.parametrize("n", [13, 20])
def test_what_is_learned_where_it_was_found_is_then_found_in_the_middle(n: int) -> None:
    """A displacement of a fraction of a cell too, on maps that are smooth enough to have one."""
    at = np.arange(n) - n // 2

    def blob(down: float, right: float) -> np.ndarray:
        one = [np.exp(-0.5 * ((at - d) / 2.0) ** 2) for d in (down, right, down + 3, right - 2)]
        return np.stack([np.outer(one[0], one[1]), np.outer(one[2], one[3])], -1).astype(np.float32)

    core = made(n, 2, ridge=1e-3)
    core.start(blob(0, 0))
    for displacement in ((2.0, -1.0), (1.4, 0.3), (-0.45, 2.6)):
        core.detect(blob(*displacement))
        core.learn(*displacement, 1.0)
        down, right, _ = core.detect(blob(0, 0))
        assert (down, right) == (pytest.approx(0, abs=0.15), pytest.approx(0, abs=0.15))


def test_a_rate_of_zero_changes_nothing() -> None:
    core = made(14, 5)
    core.start(maps(14, 5))
    z = maps(14, 5, seed=1)
    core.detect(z)
    before = response(core, 14)
    core.learn(1.3, -2.0, 0.0)
    core.detect(z)
    np.testing.assert_array_equal(response(core, 14), before)


@pytest.mark.parametrize("sigma", [0.0, 5.0])
def test_input_without_numbers_or_contrast_gives_finite_answers(sigma: float) -> None:
    core = made(14, 3, sigma)
    core.start(np.zeros((14, 14, 3), np.float32))
    down, right, psr = core.detect(np.zeros((14, 14, 3), np.float32))
    assert max(abs(down), abs(right)) <= 7
    assert abs(psr) < 3
    core.start(maps(14, 3))
    assert core.detect(np.full((14, 14, 3), np.nan, np.float32)) == (0.0, 0.0, 0.0)
    assert np.isfinite(core.detect(np.full((14, 14, 3), 3e38, np.float32))).all()
    core.learn(1e30, -1e30, 0.5)
    assert np.isfinite(core.detect(maps(14, 3))).all()


def test_what_does_not_fit_is_refused() -> None:
    core = made(14, 3)
    for wrong in (maps(13, 3), maps(14, 4), np.zeros((14, 13, 3), np.float32)):
        with pytest.raises(ValueError, match="another shape"):
            core.start(wrong)
        with pytest.raises(ValueError, match="another shape"):
            core.detect(wrong)
    with pytest.raises(TypeError):
        core.detect(maps(14, 3).astype(np.float64))
    with pytest.raises(TypeError):
        core.detect(maps(14, 6)[..., ::2])
    for learning in ((np.nan, 0.0, 0.1), (0.0, np.inf, 0.1), (0.0, 0.0, 1.5), (0.0, 0.0, np.nan)):
        with pytest.raises(ValueError, match="displacement"):
            core.learn(*learning)
    with pytest.raises(ValueError, match="window and label"):
        made(4, 3)
    with pytest.raises(ValueError, match="window and label"):
        made(14, 3, label=flat(13))
    with pytest.raises(ValueError, match="channels"):
        made(14, 0)
    with pytest.raises(ValueError, match="ridge"):
        made(14, 3, ridge=0.0)
    with pytest.raises(ValueError, match="response"):
        core.response(np.empty((13, 14), np.float32))
