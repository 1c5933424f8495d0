"""Spatial regularisation against windows and convolutions written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve2d

from edge_runtime.trackers.regularisation import quadratic_window, sparse_window_spectrum, target_window
from tests.oracle.joint_training import inner_product
from tests.oracle.regularisation import SpectralConvolution
from tests.oracle.series import to_series
from tests.oracle.test_series import whole

LEAST, EDGE = 1e-4, 1e-2


def series(size: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    return to_series(np.random.default_rng(seed).normal(size=(size, size, channels)).astype(np.float32))


def symmetric_kernel(rows: int, columns: int) -> np.ndarray:
    kernel = np.random.default_rng(5).normal(size=(rows, columns))
    return (kernel + kernel[::-1, ::-1]).astype(np.float32)


def rebuilt(kernel: np.ndarray, size: int) -> np.ndarray:
    """The function whose coefficients the kernel holds, at the middles of `size` steps of the period."""
    rows, columns = ((n - 1) // 2 for n in kernel.shape)
    at = 2 * np.pi * (np.arange(size) + 0.5) / size
    down = np.exp(1j * np.outer(at, np.arange(-rows, rows + 1)))
    across = np.exp(1j * np.outer(np.arange(-columns, columns + 1), at))
    window = down @ kernel @ across
    np.testing.assert_allclose(window.imag, 0, atol=1e-9)
    return window.real


def test_quadratic_window_is_least_in_the_centre_and_has_the_edge_value_on_the_targets_edges():
    window = quadratic_window(11, (4, 6), LEAST, EDGE)
    assert window.shape == (11, 11)
    assert window[5, 5] == window.min() == pytest.approx(LEAST)
    for edge in (window[3, 5], window[7, 5], window[5, 2], window[5, 8]):
        assert edge == pytest.approx(EDGE)
    assert window[7, 8] == pytest.approx(2 * (EDGE - LEAST) + LEAST)


@pytest.mark.parametrize(("support", "target"), [(225, (50, 50)), (240, (30, 80)), (301, (100.5, 44.2))])
def test_the_window_rebuilt_from_the_sparse_kernel_has_its_minimum_in_the_centre(support, target):
    kernel = sparse_window_spectrum(quadratic_window(support, target, LEAST, EDGE), LEAST, 0.05)
    assert kernel.dtype == np.float32
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert max(kernel.shape) < 20
    np.testing.assert_array_equal(kernel, kernel[::-1, ::-1])
    window = rebuilt(kernel, support)
    # Real parts alone move it by half a pixel of the sample: 1e-4 becomes 1.3e-4 at most here.
    assert window.min() == pytest.approx(LEAST, rel=0.3)
    at = np.unravel_index(window.argmin(), window.shape)
    assert at[0] in (support // 2, (support - 1) // 2)
    assert at[1] in (support // 2, (support - 1) // 2)


def test_the_sparse_kernel_holds_the_windows_coefficients_above_the_threshold():
    support, threshold = 200, 0.05
    window = quadratic_window(support, (60, 40), LEAST, EDGE)
    kernel = sparse_window_spectrum(window, LEAST, threshold)
    at = 2 * np.pi * (np.arange(support) + 0.5) / support
    k = np.arange(-20, 21)
    basis = np.exp(-1j * np.outer(k, at)) / support
    exact = (basis @ window @ basis.T).real
    exact[np.abs(exact) < threshold * exact[20, 20]] = 0
    rows, columns = ((n - 1) // 2 for n in kernel.shape)
    inside = exact[20 - rows : 21 + rows, 20 - columns : 21 + columns]
    assert np.count_nonzero(exact) == np.count_nonzero(inside) > 5
    different = kernel - inside
    different[rows, columns] = 0  # the mean was moved
    np.testing.assert_allclose(different, 0, atol=2e-3 * np.abs(inside).max())


@pytest.mark.parametrize("kernel_shape", [(1, 1), (3, 3), (5, 3), (1, 7), (7, 5)])
@pytest.mark.parametrize("size", [3, 7, 15])
def test_convolution_is_the_full_one_and_the_valid_part_of_another(size, kernel_shape):
    kernel, f = symmetric_kernel(*kernel_shape), series(size)
    done = SpectralConvolution(kernel)(f)
    assert done.dtype == np.complex64
    assert done.shape == f.shape
    for channel in range(2):
        full = convolve2d(whole(f[..., channel]), kernel, "full")
        back = convolve2d(full, kernel[::-1, ::-1].conj(), "valid")
        np.testing.assert_allclose(
            done[..., channel], back[:, size // 2 :], atol=1e-5 * np.abs(back).max(), rtol=1e-4
        )


def test_convolution_leaves_its_input_alone_and_keeps_the_symmetry():
    f = series(9)
    before = f.copy()
    done = SpectralConvolution(symmetric_kernel(5, 5))(f)
    np.testing.assert_array_equal(f, before)
    np.testing.assert_allclose(done[:, 0], np.conj(done[::-1, 0]), atol=1e-4 * np.abs(done).max())


def test_convolution_is_symmetric_and_positive_definite():
    kernel = sparse_window_spectrum(quadratic_window(120, (30, 40), 0.05, 0.5), 0.05, 0.05)
    convolve = SpectralConvolution(kernel)
    for seed in range(5):
        f, g = series(11, seed=seed), series(11, seed=seed + 50)
        left, right = inner_product([f], [convolve(g)]), inner_product([convolve(f)], [g])
        scale = np.sqrt(inner_product([f], [convolve(f)]) * inner_product([g], [convolve(g)]))
        assert left == pytest.approx(right, abs=1e-5 * scale)
        # The window is nowhere below 0.05, so that the square of |f| times it is not either.
        assert inner_product([f], [convolve(f)]) > 0.95 * 0.05**2 * inner_product([f], [f])


def test_energy_is_the_sum_of_squares_and_the_weight_of_a_single_frequency():
    kernel = symmetric_kernel(5, 3)
    convolve = SpectralConvolution(kernel)
    assert convolve.energy == pytest.approx(float((kernel.astype(float) ** 2).sum()))
    single = np.zeros((11, 6, 1), np.complex64)
    single[4, 4] = 1j
    assert convolve(single)[4, 4, 0] == pytest.approx(1j * convolve.energy, rel=1e-5)


@pytest.mark.parametrize(
    ("cells", "target", "expected"),
    [
        (7, 3, (2, 3, 4)),
        (7, 2, (2, 3)),
        (6, 3, (2, 3, 4)),
        (6, 2, (2, 3)),
        (5, 5, (0, 1, 2, 3, 4)),
        (5, 8, (0, 1, 2, 3, 4)),
        (6, 7, (0, 1, 2, 3, 4, 5)),
    ],
)
def test_target_window_lies_around_the_middle_cell(cells, target, expected):
    """Along one axis; the middle cell is cells // 2, and an even target has one cell more before it."""
    for shape, size, axis in [((cells, 9), (target, 1), 0), ((9, cells), (1, target), 1)]:
        window = target_window(shape, size, inside=0.5, outside=8.0)
        assert window.dtype == np.float32
        assert window.shape == shape
        inside = window == 0.5
        assert (window[~inside] == 8.0).all()
        assert tuple(np.flatnonzero(inside.any(1 - axis))) == expected
        assert tuple(np.flatnonzero(inside.any(axis))) == (4,)
