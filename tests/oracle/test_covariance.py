"""Second moments against sums over the samples, frequency by frequency."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle.covariance import SpectralCovariance

ONE = [(5, 3, 4)]
TWO = [(7, 4, 3), (3, 2, 5)]
THREE = [(9, 5, 2), (5, 3, 1), (3, 2, 3)]


def draw(shapes, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=s) + 1j * rng.normal(size=s)).astype(np.complex64) for s in shapes]


def at(arrays, ky: int, kx: int) -> list[np.ndarray | None]:
    """Channels of every grid at one frequency; None where the grid has it not."""
    found = []
    for x in arrays:
        row = ky + x.shape[0] // 2
        found.append(x[row, kx] if 0 <= row < x.shape[0] and kx < x.shape[1] else None)
    return found


def slow_apply(shapes, samples, weights, f) -> list[np.ndarray]:
    out = [np.zeros(shape, complex) for shape in shapes]
    half = shapes[0][0] // 2
    for x, weight in zip(samples, weights, strict=True):
        for ky in range(-half, half + 1):
            for kx in range(half + 1):
                here, there, into = at(x, ky, kx), at(f, ky, kx), at(out, ky, kx)
                score = sum((a * b).sum() for a, b in zip(here, there, strict=True) if a is not None)
                for total, a in zip(into, here, strict=True):
                    if total is not None:
                        np.add(total, weight * a.conj() * score, out=total)
    return out


def filled(shapes, samples, weights) -> SpectralCovariance:
    covariance = SpectralCovariance(shapes)
    for x, weight in zip(samples, weights, strict=True):
        covariance.add(x, weight)
    return covariance


def assert_close(found, expected, atol: float = 1e-5) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=atol * max(np.abs(b).max(), 1))


@pytest.mark.parametrize("shapes", [ONE, TWO, THREE])
def test_apply_is_the_sum_over_the_samples(shapes):
    samples, weights = [draw(shapes, seed) for seed in range(4)], [0.4, 0.3, 0.2, 0.1]
    covariance, f = filled(shapes, samples, weights), draw(shapes, 9)
    found = covariance.apply(f)
    assert [x.dtype for x in found] == [np.complex64] * len(shapes)
    assert_close(found, slow_apply(shapes, samples, weights, f))


def test_mean_is_the_weighted_sum_of_the_samples():
    samples, weights = [draw(TWO, seed) for seed in range(3)], [0.5, 0.3, 0.2]
    mean = filled(TWO, samples, weights).mean
    assert_close(mean, [sum(w * x[g] for w, x in zip(weights, samples, strict=True)) for g in range(2)])


def test_apply_leaves_the_filter_alone():
    covariance, f = filled(TWO, [draw(TWO, 0)], [1.0]), draw(TWO, 9)
    before = [part.copy() for part in f]
    covariance.apply(f)
    for a, b in zip(f, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shapes", [ONE, TWO, THREE])
def test_hermitian_and_nowhere_negative(shapes):
    covariance = filled(shapes, [draw(shapes, 0), draw(shapes, 1)], [0.7, 0.3])
    for seed in range(5):
        f, g = draw(shapes, 10 + seed), draw(shapes, 20 + seed)
        there = sum(np.vdot(a, b) for a, b in zip(f, covariance.apply(g), strict=True))
        back = sum(np.vdot(a, b) for a, b in zip(covariance.apply(f), g, strict=True))
        assert there == pytest.approx(back, rel=1e-4)
        square = sum(np.vdot(a, b) for a, b in zip(f, covariance.apply(f), strict=True))
        assert square.real > 0
        assert square.imag == pytest.approx(0, abs=1e-5 * float(square.real))


def test_scaling_scales_all_weights():
    samples, f = [draw(TWO, 0), draw(TWO, 1)], draw(TWO, 9)
    covariance, expected = filled(TWO, samples, [0.6, 0.4]), filled(TWO, samples, [0.15, 0.1])
    covariance.scale(0.25)
    assert_close(covariance.apply(f), expected.apply(f))
    assert_close(covariance.mean, expected.mean)


def test_a_negative_weight_takes_a_sample_out_again():
    samples, f = [draw(TWO, 0), draw(TWO, 1)], draw(TWO, 9)
    covariance, expected = filled(TWO, samples, [0.6, 0.4]), filled(TWO, samples[:1], [0.6])
    covariance.add(samples[1], -0.4)
    assert_close(covariance.apply(f), expected.apply(f))
    assert_close(covariance.mean, expected.mean)


def test_an_outer_product_alone_leaves_the_mean():
    first, second, f = draw(TWO, 0), draw(TWO, 1), draw(TWO, 9)
    covariance = filled(TWO, [first], [0.6])
    mean = [x.copy() for x in covariance.mean]
    covariance.add_outer(second, 0.4)
    assert_close(covariance.apply(f), filled(TWO, [first, second], [0.6, 0.4]).apply(f))
    for a, b in zip(covariance.mean, mean, strict=True):
        np.testing.assert_array_equal(a, b)


def test_replacing_two_samples_by_their_mean_takes_one_outer_product_off():
    first, second, f = draw(TWO, 0), draw(TWO, 1), draw(TWO, 9)
    u, v = 0.6, 0.1
    covariance = filled(TWO, [first, second], [u, v])
    covariance.add_outer([a - b for a, b in zip(first, second, strict=True)], -u * v / (u + v))
    mean = [(u * a + v * b) / (u + v) for a, b in zip(first, second, strict=True)]
    expected = filled(TWO, [mean], [u + v])
    assert_close(covariance.apply(f), expected.apply(f))
    assert_close(covariance.mean, expected.mean)
