"""The sample memory against a slow one that keeps every sample and compares all of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.oracle.sample_space import SampleSpace
from tests.oracle.test_covariance import assert_close, draw, slow_apply

SHAPES = [(5, 3, 2), (3, 2, 3)]
ENDS = np.cumsum([int(np.prod(shape)) for shape in SHAPES])[:-1]


def flat(sample) -> np.ndarray:
    return np.concatenate([np.asarray(part).ravel() for part in sample])


def parts(vector: np.ndarray) -> list[np.ndarray]:
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ENDS), SHAPES, strict=True)]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = a - b
    return 2 * (difference.real**2 + difference.imag**2).sum(-1)


class SlowSpace:
    """ECO's rules, word for word, in double precision but for the weights."""

    def __init__(self, capacity: int, rate: float) -> None:
        self.capacity, self.rate = capacity, rate
        self.samples: list[np.ndarray] = []
        self.weights = np.zeros(0, np.float32)
        self.done: Counter[str] = Counter()

    def add(self, new: np.ndarray) -> None:
        new = new.astype(np.complex128)
        if not self.samples:
            self.samples, self.weights = [new], np.ones(1, np.float32)
        elif len(self.samples) < self.capacity:
            self.done["fill"] += 1
            self.samples.append(new)
            self.weights = np.float32([*(self.weights * np.float32(1 - self.rate)), self.rate])
        elif self.weights.min() < self.rate * (1 - self.rate) ** (2 * self.capacity):
            self.done["replace"] += 1
            index = int(self.weights.argmin())
            others = float(np.delete(self.weights, index).sum())
            self.weights *= np.float32((1 - self.rate) / others)
            self._put(index, new)
        else:
            self._merge(new)

    def _put(self, index: int, new: np.ndarray) -> None:
        self.samples[index], self.weights[index] = new, self.rate

    def _merge(self, new: np.ndarray) -> None:
        stacked = np.stack(self.samples)
        to_new = distances(stacked, new)
        among = distances(stacked[:, None], stacked[None])
        np.fill_diagonal(among, np.inf)
        self.weights *= np.float32(1 - self.rate)
        if to_new.min() < among.min():
            self.done["merge into nearest"] += 1
            self._join(int(to_new.argmin()), new, self.rate)
            return
        self.done["merge a pair"] += 1
        i, j = divmod(int(among.argmin()), self.capacity)
        heavy, light = (i, j) if self.weights[i] > self.weights[j] else (j, i)
        self._join(heavy, self.samples[light], float(self.weights[light]))
        self._put(light, new)

    def _join(self, index: int, other: np.ndarray, weight: float) -> None:
        own = float(self.weights[index])
        self.samples[index] = (own * self.samples[index] + weight * other) / (own + weight)
        self.weights[index] = own + weight


def stream(count: int, seed: int = 0):
    """Samples from a few clusters that come and go, now and then one that is like no other."""
    rng = np.random.default_rng(seed)
    clusters = [flat(draw(SHAPES, 1000 + i)) for i in range(5)]
    for t in range(count):
        noise = flat(draw(SHAPES, 5000 + seed * count + t))
        if rng.random() < 0.04:
            yield 3 * noise
        else:
            cluster = clusters[(t // 40 + int(rng.integers(2))) % len(clusters)]
            yield (cluster + np.float32(rng.uniform(0.05, 0.6)) * noise).astype(np.complex64)


def assert_same(space: SampleSpace, slow: SlowSpace) -> None:
    count = len(slow.samples)
    assert space.count == count
    np.testing.assert_allclose(space.weights[:count], slow.weights, rtol=1e-4, atol=1e-7)
    assert space.weights.sum() == pytest.approx(1, abs=1e-5)
    stored = np.stack([flat(space.sample(i)) for i in range(count)])
    np.testing.assert_allclose(stored, np.stack(slow.samples), atol=1e-5)


@pytest.mark.parametrize(("capacity", "rate"), [(12, 0.02), (8, 0.1), (30, 0.011)])
def test_against_the_slow_space_over_several_hundred_samples(capacity, rate):
    space, slow = SampleSpace(SHAPES, capacity, rate), SlowSpace(capacity, rate)
    for x in stream(400):
        space.add(parts(x))
        slow.add(x)
        assert_same(space, slow)
    assert min(slow.done[name] for name in ("fill", "replace", "merge into nearest", "merge a pair")) > 3


@pytest.mark.parametrize(("capacity", "rate"), [(12, 0.02), (30, 0.011)])
def test_covariance_and_gram_matrix_do_not_drift_from_the_samples(capacity, rate):
    space, slow = SampleSpace(SHAPES, capacity, rate), SlowSpace(capacity, rate)
    for x in stream(600, seed=1):
        space.add(parts(x))
        slow.add(x)
    samples, weights = [parts(x) for x in slow.samples], slow.weights.astype(float)
    f = draw(SHAPES, 3)
    assert_close(space.covariance.apply(f), slow_apply(SHAPES, samples, weights, f), atol=1e-5)
    mean = [sum(w * x[g] for w, x in zip(weights, samples, strict=True)) for g in range(2)]
    assert_close(space.covariance.mean, mean, atol=1e-5)

    stacked = np.stack(slow.samples)
    gram = 2 * (stacked.conj() @ stacked.T).real
    np.testing.assert_allclose(space._gram, gram, atol=1e-5 * gram.max())


def test_distances_come_out_of_the_gram_matrix_while_it_fills():
    space = SampleSpace(SHAPES, 5, 0.1)
    samples = [flat(draw(SHAPES, seed)) for seed in range(4)]
    for x in samples:
        space.add(parts(x))
    norms = np.diag(space._gram)
    found = norms[:, None] + norms - 2 * space._gram
    stacked = np.stack(samples)
    np.testing.assert_allclose(found[:4, :4], distances(stacked[:, None], stacked[None]), atol=1e-4)


def test_one_place_holds_the_running_mean():
    space, mean = SampleSpace(SHAPES, 1, 0.2), None
    for x in stream(30):
        space.add(parts(x))
        mean = x if mean is None else 0.8 * mean + 0.2 * x
    np.testing.assert_allclose(space.weights, [1], atol=1e-6)
    np.testing.assert_allclose(flat(space.sample(0)), mean, atol=1e-5)
    np.testing.assert_allclose(flat(space.covariance.mean), mean, atol=1e-5)


def test_the_same_sample_again_and_again_changes_nothing_but_weights():
    space, x = SampleSpace(SHAPES, 4, 0.1), draw(SHAPES, 0)
    for _ in range(60):
        space.add(x)
    for i in range(4):
        np.testing.assert_allclose(flat(space.sample(i)), flat(x), atol=1e-5)
    f = draw(SHAPES, 1)
    assert_close(space.covariance.apply(f), slow_apply(SHAPES, [x], [1.0], f))
    assert space.weights.sum() == pytest.approx(1, abs=1e-5)


def test_taking_in_a_sample_leaves_it_alone_and_keeps_a_copy():
    space = SampleSpace(SHAPES, 3, 0.1)
    for seed in range(8):
        x = draw(SHAPES, seed)
        before = [part.copy() for part in x]
        space.add(x)
        for a, b in zip(x, before, strict=True):
            np.testing.assert_array_equal(a, b)
        if seed < 3:
            x[0][:] = 0
            np.testing.assert_array_equal(space.sample(seed)[0], before[0])
