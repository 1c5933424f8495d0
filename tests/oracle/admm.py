"""STRCF's filter: spatial and temporal regularisation by ADMM (Li 2018, CVPR, eqs. 6 to 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from edge_runtime.types import ComplexArray, FloatArray


@dataclass(frozen=True)
class AdmmProblem:
    """What does not change from frame to frame, for one block.

    Attributes:
        label: half spectrum of the desired response, (rows, stored columns) complex64.
        window: spatial weight w, (rows, columns) float32.
        cells: T, number of cells of the output grid.
        temporal: weight mu of the previous filter.
        iterations: of ADMM.
        penalty: the step gamma in the first iteration.
        penalty_growth: gamma is multiplied by this after each iteration,
        penalty_most: and limited to this.
    """

    label: ComplexArray
    window: FloatArray
    cells: int
    temporal: float
    iterations: int
    penalty: float
    penalty_growth: float
    penalty_most: float


def solve(problem: AdmmProblem, sample: ComplexArray, previous: ComplexArray | None) -> ComplexArray:
    """The filter f for one windowed sample x, from the previous frame's filter f' (None: the first frame).

    min_f |sum_d x_d * f_d - y|^2 / (2 T) + |w f|^2 / 2 + mu |f - f'|^2 / 2, split into f and g = f
    with multiplier h. The last iteration's g and h would not be used, and are not computed.

    Args:
        sample: half spectrum x, (rows, stored columns, channels) complex64.

    Returns:
        f, same shape.
    """
    temporal = problem.temporal if previous is not None else 0.0
    energy = (sample.real**2 + sample.imag**2).sum(-1)
    # x y / T + mu f': what every f step begins with.
    fixed = sample * (problem.label / np.float32(problem.cells))[..., None]
    if previous is not None:
        fixed += np.float32(temporal) * previous
    penalty = problem.penalty
    f = f_step(problem, sample, energy, fixed, penalty + temporal)
    multiplier = np.zeros_like(sample)
    for _ in range(problem.iterations - 1):
        g = g_step(problem.window, f * np.float32(penalty) + multiplier, penalty)
        multiplier += np.float32(penalty) * (f - g)
        penalty = min(problem.penalty_growth * penalty, problem.penalty_most)
        right = fixed + np.float32(penalty) * g
        right -= multiplier
        f = f_step(problem, sample, energy, right, penalty + temporal)
    return f


def f_step(
    problem: AdmmProblem, sample: ComplexArray, energy: FloatArray, right: ComplexArray, weight: float
) -> ComplexArray:
    """Solve (x x^H / T + weight I) f = right per frequency over the channels (Sherman and Morrison).

    f = [right - x (x^H right) / (|x|^2 + T weight)] / weight.

    Args:
        energy: |x|^2 per frequency.
        right: x y / T + mu f' + gamma g - h, (rows, stored columns, channels).
        weight: gamma + mu.
    """
    projected = np.einsum("hwc,hwc->hw", sample.conj(), right)
    projected /= energy + np.float32(problem.cells * weight)
    out: ComplexArray = right - sample * projected[..., None]
    out *= np.float32(1 / weight)
    return out


def g_step(window: FloatArray, spectrum: ComplexArray, penalty: float) -> ComplexArray:
    """argmin_g |w g|^2 + gamma |f - g + h / gamma|^2: g = F(F^-1(gamma f + h) / (w^2 + gamma)).

    Args:
        window: w, (rows, columns).
        spectrum: gamma f + h, half spectrum (rows, stored columns, channels).
    """
    values = scipy.fft.irfft2(spectrum, s=window.shape, axes=(0, 1))
    values *= (1 / (window**2 + np.float32(penalty)))[..., None]
    spectrum_out: ComplexArray = scipy.fft.rfft2(values, axes=(0, 1))
    return spectrum_out
