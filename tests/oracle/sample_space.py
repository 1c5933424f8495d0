"""ECO's sample space: a memory of weighted samples, near ones merged (Danelljan 2017, CVPR, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import ComplexArray
from tests.oracle.covariance import SpectralCovariance


class SampleSpace:
    """At most `capacity` samples with weights that sum to 1.

    A new sample has weight `learning_rate`, all others are scaled by 1 - learning_rate. When the memory
    is full, it replaces the sample of the smallest weight if that is below
    rate (1 - rate)^(2 capacity); else the two nearest of all samples, the new one included, are merged to
    their weighted mean. Distances come from a Gram matrix that is kept up to date.

    Args:
        shapes: (rows, stored columns, channels) of a sample on every grid.

    Attributes:
        weights: (capacity,) float32.
        covariance: second moments of all samples with their weights.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], capacity: int, learning_rate: float) -> None:
        self.capacity, self.learning_rate = capacity, learning_rate
        self.weights = np.zeros(capacity, np.float32)
        self.covariance = SpectralCovariance(shapes)
        self._least_weight = learning_rate * (1 - learning_rate) ** (2 * capacity)
        self._shapes = list(shapes)
        self._samples = np.zeros((capacity, sum(int(np.prod(s)) for s in shapes)), np.complex64)
        self._gram: NDArray[np.float64] = np.zeros((capacity, capacity))
        self.count = 0

    def sample(self, index: int) -> list[ComplexArray]:
        """Views of one stored sample, one array a grid."""
        parts, start = [], 0
        for shape in self._shapes:
            size = int(np.prod(shape))
            parts.append(self._samples[index, start : start + size].reshape(shape))
            start += size
        return parts

    def add(self, sample: Sequence[ComplexArray]) -> None:
        """Take in a sample, one array a grid."""
        flat = np.concatenate([part.ravel() for part in sample])
        products = self._products(flat)
        norm = _inner(flat, flat)
        if self.count < self.capacity:
            self._append(flat, products, norm)
        elif self.weights.min() < self._least_weight:
            self._replace(int(self.weights.argmin()), flat, products, norm)
        else:
            self._merge(flat, products, norm)

    def _append(self, flat: ComplexArray, products: NDArray[np.float64], norm: float) -> None:
        weight = self.learning_rate if self.count else 1.0
        self._fade(1 - self.learning_rate if self.count else 1.0)
        self._store(self.count, flat, products, norm, weight)
        self.count += 1

    def _replace(self, index: int, flat: ComplexArray, products: NDArray[np.float64], norm: float) -> None:
        self.covariance.add(self.sample(index), -float(self.weights[index]))
        self.weights[index] = 0
        self._fade((1 - self.learning_rate) / float(self.weights.sum()))
        self._store(index, flat, products, norm, self.learning_rate)

    def _merge(self, flat: ComplexArray, products: NDArray[np.float64], norm: float) -> None:
        norms = np.diag(self._gram)
        to_new = np.maximum(norm + norms - 2 * products, 0)
        among = norms[:, None] + norms[None, :] - 2 * self._gram
        np.fill_diagonal(among, np.inf)
        nearest = int(to_new.argmin())
        i, j = np.unravel_index(int(among.argmin()), among.shape)
        self._fade(1 - self.learning_rate)
        if to_new[nearest] < max(among[i, j], 0):
            self._merge_into(nearest, flat, self.learning_rate, products, norm)
            self.covariance.add(self._parts(flat), self.learning_rate)
            return
        first, second = (i, j) if self.weights[i] >= self.weights[j] else (j, i)
        other, weight = self._samples[second].copy(), float(self.weights[second])
        share = weight / (weight + float(self.weights[first]))
        self._merge_into(
            int(first), other, weight, self._gram[second].copy(), float(self._gram[second, second])
        )
        products[first] += share * (products[second] - products[first])
        self._store(int(second), flat, products, norm, self.learning_rate)

    def _merge_into(
        self, index: int, other: ComplexArray, weight: float, products: NDArray[np.float64], norm: float
    ) -> None:
        """Sample `index` becomes the weighted mean of itself and `other`.

        The sum of outer products loses w v / (w + v) d d^H with d the difference of the two, which are
        both (or will both be) in the covariance.
        """
        own = float(self.weights[index])
        share = weight / (own + weight)
        difference = other - self._samples[index]
        self.covariance.add_outer(self._parts(difference), -own * share)
        gram = self._gram
        own_norm, cross = gram[index, index], products[index]
        gram[index] += share * (products - gram[index])
        gram[:, index] = gram[index]
        gram[index, index] = (1 - share) ** 2 * own_norm + share**2 * norm + 2 * share * (1 - share) * cross
        self._samples[index] += np.float32(share) * difference
        self.weights[index] = own + weight

    def _store(
        self, index: int, flat: ComplexArray, products: NDArray[np.float64], norm: float, weight: float
    ) -> None:
        self._samples[index] = flat
        self._gram[index] = self._gram[:, index] = products
        self._gram[index, index] = norm
        self.weights[index] = weight
        self.covariance.add(self._parts(flat), weight)

    def _fade(self, factor: float) -> None:
        self.weights *= np.float32(factor)
        self.covariance.scale(factor)

    def _parts(self, flat: ComplexArray) -> list[ComplexArray]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), self._shapes, strict=True)]

    def _products(self, flat: ComplexArray) -> NDArray[np.float64]:
        """Inner products with all stored samples; zero where there is none."""
        products = np.zeros(self.capacity)
        stored = self._samples[: self.count].view(np.float32)
        products[: self.count] = 2 * (stored @ flat.view(np.float32))
        return products


def _inner(a: ComplexArray, b: ComplexArray) -> float:
    """2 Re <a, b>. The zero column counts twice, as in the authors' program: near enough for distances."""
    return 2 * float(np.dot(a.view(np.float32), b.view(np.float32)))
