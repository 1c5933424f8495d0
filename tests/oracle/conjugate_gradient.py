"""Preconditioned conjugate gradient over a list of arrays, with a state that survives to the next call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Vector = Sequence[NDArray[Any]]


@dataclass
class DirectionState:
    """Last search direction, residual and its norm, for the next call.

    Attributes:
        forget: rho is divided by this when the state is taken up again: (1 - learning rate)^rate.
    """

    forget: float = 1.0
    direction: Vector = ()
    residual: Vector = ()
    rho: float = 1.0


def conjugate_gradient(
    apply: Callable[[Vector], Vector],
    target: Vector,
    start: Vector,
    precondition: Vector,
    *,
    inner: Callable[[Vector, Vector], float],
    iterations: int,
    state: DirectionState | None = None,
) -> list[NDArray[Any]]:
    """Minimise <x, A x> - 2 <x, b> in `iterations` steps from `start`.

    Residual r, preconditioned z = M^-1 r, direction p <- z + beta p, step alpha = <r, z> / <p, A p>.
    Without `state` beta is Fletcher and Reeves' <r, z> / <r', z'>; with one, Polak and Ribiere's
    <r - r', z> / <r', z'>, at least 0, and the direction of the last call goes on (ECO, section 3.3).

    Args:
        apply: A, symmetric and positive definite under `inner`.
        target: b.
        precondition: diagonal of M, same shapes.
        inner: real inner product.
        state: changed in place.
    """
    x = list(start)
    residual = [b - a for b, a in zip(target, apply(x), strict=True)]
    direction: Vector = state.direction if state else ()
    before: Vector = state.residual if state else ()
    rho = state.rho / state.forget if state and direction else 1.0
    for step in range(iterations):
        z = [r / m for r, m in zip(residual, precondition, strict=True)]
        rho_before, rho = rho, inner(residual, z)
        if not (0 < rho < math.inf):
            direction = ()
            break
        if direction:
            beta = (rho - inner(before, z) if state else rho) / rho_before
            beta = max(beta, 0.0)
            direction = [new + beta * old for new, old in zip(z, direction, strict=True)]
        else:
            direction = z
        product = apply(direction)
        curvature = inner(direction, product)
        if not (0 < curvature < math.inf):
            direction = ()
            break
        alpha = rho / curvature
        before = residual
        x = [array + alpha * part for array, part in zip(x, direction, strict=True)]
        if step < iterations - 1:
            residual = [r - alpha * p for r, p in zip(residual, product, strict=True)]
    if state:  # without a direction the next call starts afresh
        state.direction, state.residual, state.rho = direction, before, rho
    return x
