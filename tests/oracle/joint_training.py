"""ECO's first frame: filter and projection together (Danelljan 2017, CVPR, section 3.1, eqs. 6 to 8).

The score of one sample x is s = sum_b (x_b P_b)^T f_b over the feature blocks b. Around the current f and P
it is linear in the increments, s(f, P + dP) ~ x^T P f + x^T dP f0; Gauss-Newton solves for f and dP by
conjugate gradient on the normal equations and adds dP to P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import ComplexArray, FloatArray
from tests.oracle.conjugate_gradient import Vector, conjugate_gradient
from tests.oracle.regularisation import SpectralConvolution
from tests.oracle.series import centre_slices, symmetrise


@dataclass(frozen=True)
class JointProblem:
    """What does not change over the Gauss-Newton iterations.

    Attributes:
        samples: per block, the unprojected sample's series (rows, columns, channels).
        labels: per block, the label's series (rows, columns).
        regularise: the spatial regularisation W^H W.
        projection_regularisation: weight of |P|^2.
        filter_precondition: per block, (rows, columns, compressed channels).
        projection_precondition: one number per block.
    """

    samples: list[ComplexArray]
    labels: list[FloatArray]
    regularise: SpectralConvolution
    projection_regularisation: float
    filter_precondition: list[FloatArray]
    projection_precondition: list[float]


class _Block:
    """One block's part of the normal equations, its frequencies flattened.

    Real products do most of the work: a complex array counts as twice as many real rows, the real parts
    first.
    """

    def __init__(self, sample: ComplexArray, label: FloatArray) -> None:
        rows, columns, channels = sample.shape
        self.shape = (rows, columns)
        flat = sample.reshape(-1, channels)
        self._planar = np.ascontiguousarray(np.concatenate([flat.real, flat.imag]))
        # The zero column should count once here. The authors' program leaves it out, and with it a little of
        # what the projection could learn; golden tracks depend on it.
        weights = np.tile(np.where(np.arange(columns) == 0, 0, 2).astype(np.float32), rows)
        self._weighted = np.ascontiguousarray(self._planar.T * np.concatenate([weights, weights]))
        self.label = label.reshape(-1, 1)

    def linearise(self, projection: FloatArray, f: ComplexArray) -> None:
        """Fix the point around which increments are taken."""
        self.projected = self.project(projection)
        self.projected_conj = self.projected.conj()
        self._f_conj = f.reshape(-1, f.shape[2]).conj()
        self.f = f.reshape(-1, f.shape[2])

    def project(self, projection: FloatArray) -> ComplexArray:
        """x P, (frequencies, compressed channels)."""
        planar = self._planar @ projection
        half = len(planar) // 2
        out = np.empty((half, planar.shape[1]), np.complex64)
        out.real, out.imag = planar[:half], planar[half:]
        return out

    def score(self, f: ComplexArray, increment: FloatArray) -> ComplexArray:
        """(x P)^T f + (x dP)^T f0, (rows, columns)."""
        flat = f.reshape(self.f.shape)
        total = np.einsum("fc,fc->f", self.projected, flat)
        total += np.einsum("fc,fc->f", self.project(increment), self.f)
        return cast(ComplexArray, total.reshape(self.shape))

    def filter_part(self, score: ComplexArray) -> ComplexArray:
        """conj(x P) s, in the filter's shape."""
        out = self.projected_conj * score.reshape(-1, 1)
        return cast(ComplexArray, out.reshape(*self.shape, -1))

    def projection_part(self, score: ComplexArray) -> FloatArray:
        """Re sum_k conj(x)^T conj(f0) s over the spectrum without kx = 0, (channels, compressed channels)."""
        seen = self._f_conj * score.reshape(-1, 1)
        return cast(FloatArray, self._weighted @ np.concatenate([seen.real, seen.imag]))


def train_jointly(
    problem: JointProblem,
    projections: Sequence[FloatArray],
    gauss_newton_iterations: int,
    conjugate_gradient_iterations: int,
) -> tuple[list[ComplexArray], list[FloatArray]]:
    """Filters per block, (rows, columns, compressed channels), and projections.

    Filters start from zero, projections from those given.
    """
    blocks = [_Block(x, y) for x, y in zip(problem.samples, problem.labels, strict=True)]
    projections = list(projections)
    filters = [
        np.zeros((*block.shape, p.shape[1]), np.complex64)
        for block, p in zip(blocks, projections, strict=True)
    ]
    count = len(blocks)
    largest = max(range(count), key=lambda b: blocks[b].shape[0])
    inside = [centre_slices(blocks[largest].shape[0], block.shape[0]) for block in blocks]
    reg = np.float32(problem.projection_regularisation)

    def apply(x: Vector) -> list[NDArray[Any]]:
        f, increments = x[:count], x[count:]
        score = np.zeros(blocks[largest].shape, np.complex64)
        for block, part, increment, where in zip(blocks, f, increments, inside, strict=True):
            score[where] += block.score(part, increment)
        seen = [score[where] for where in inside]
        top = [
            block.filter_part(s) + problem.regularise(part)
            for block, s, part in zip(blocks, seen, f, strict=True)
        ]
        bottom = [
            block.projection_part(s) + reg * increment
            for block, s, increment in zip(blocks, seen, increments, strict=True)
        ]
        return [*top, *bottom]

    scalars = [np.asarray(m, np.float32) for m in problem.projection_precondition]
    precondition: Vector = [*problem.filter_precondition, *scalars]
    for _ in range(gauss_newton_iterations):
        for block, projection, f in zip(blocks, projections, filters, strict=True):
            block.linearise(projection, f)
        labels = [block.label.astype(np.complex64) for block in blocks]
        target = [
            *(block.filter_part(y) for block, y in zip(blocks, labels, strict=True)),
            *(
                block.projection_part(y) - reg * p
                for block, y, p in zip(blocks, labels, projections, strict=True)
            ),
        ]
        start: Vector = [*filters, *(np.zeros_like(p) for p in projections)]
        solved = conjugate_gradient(
            apply,
            target,
            start,
            precondition,
            inner=inner_product,
            iterations=conjugate_gradient_iterations,
        )
        filters = solved[:count]
        for f in filters:
            symmetrise(f)
        projections = [p + dp for p, dp in zip(projections, solved[count:], strict=True)]
    return filters, projections


def inner_product(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]]) -> float:
    """Re <a, b>: half spectra (complex, three axes) over the whole spectrum, real matrices as they are."""
    total = 0.0
    for left, right in zip(a, b, strict=True):
        if left.dtype.kind == "c":
            total += 2 * _dot(left, right) - _dot(left[:, 0], right[:, 0])
        else:
            total += float(np.vdot(left, right))
    return total


def _dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    left, right = (np.ascontiguousarray(x).view(np.float32).ravel() for x in (a, b))
    return float(np.dot(left, right))
