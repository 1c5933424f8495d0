from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import BundleError
from edge_runtime.fingerprint import fingerprint, probe_pattern
from edge_runtime.manifest import Preprocessing, TensorInfo
from edge_runtime.preprocess import MOST_MEAN_IMAGES, Preprocessor, imresize_bicubic

FOLDED = Preprocessing("RGB", "folded", (123.0, 117.0, 104.0))
IMAGE = Preprocessing("RGB", "image", (123.0, 117.0, 104.0))
FLOAT32 = TensorInfo("image", "float32", 0.0, 0)
PIXELS = TensorInfo("image", "int8", 1.0, -128)
PATCHES = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3)).astype(np.uint8)
SIZES = st.integers(2, 40)


def test_folded_float32_is_rgb() -> None:
    x = Preprocessor(FOLDED, None, FLOAT32)(PATCHES)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, PATCHES[..., ::-1])


def test_folded_int8_is_exact() -> None:
    x = Preprocessor(FOLDED, None, PIXELS)(PATCHES)
    assert x.dtype == np.int8
    np.testing.assert_array_equal(x.astype(int) + 128, PATCHES[..., ::-1])


def test_input_is_left_alone() -> None:
    before = PATCHES.copy()
    Preprocessor(FOLDED, None, PIXELS)(PATCHES)
    np.testing.assert_array_equal(PATCHES, before)


def test_views_are_accepted() -> None:
    view = PATCHES[:, 2:18, ::-1][:, :, :16]
    np.testing.assert_array_equal(Preprocessor(FOLDED, None, FLOAT32)(view), view[..., ::-1])


def test_mean_image_of_the_same_size_is_subtracted_as_it_is() -> None:
    mean = np.random.default_rng(1).uniform(90, 130, (20, 20, 3)).astype(np.float32)
    x = Preprocessor(IMAGE, mean, FLOAT32)(PATCHES)
    np.testing.assert_allclose(x, PATCHES[..., ::-1] - mean, atol=1e-4)


def test_mean_image_int8_is_within_half_a_step() -> None:
    mean = np.full((5, 5, 3), 117.25, np.float32)
    info = TensorInfo("image", "int8", 1.1, -8)
    x = Preprocessor(IMAGE, mean, info)(PATCHES)
    real = (x.astype(np.float32) - info.zero_point) * info.scale
    inside = np.abs(PATCHES[..., ::-1] - 117.25) < 125
    assert np.abs(real - (PATCHES[..., ::-1] - 117.25))[inside].max() <= 0.551


def test_bad_bundles_are_refused() -> None:
    with pytest.raises(BundleError, match="no mean image"):
        Preprocessor(IMAGE, None, FLOAT32)
    with pytest.raises(BundleError, match="not 1 and -128"):
        Preprocessor(FOLDED, None, TensorInfo("image", "int8", 0.9, -128))


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.floats(-300, 300, width=32))
def test_resize_keeps_a_constant(
    rows: int, columns: int, new_rows: int, new_columns: int, value: float
) -> None:
    """The weights of every output pixel sum to one."""
    resized = imresize_bicubic(np.full((rows, columns, 2), value, np.float32), new_rows, new_columns)
    assert resized.shape == (new_rows, new_columns, 2)
    np.testing.assert_allclose(resized, value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("new_size", [40, 61, 97])
def test_enlarging_keeps_a_ramp_away_from_the_edges(new_size: int) -> None:
    ramp = np.repeat(np.arange(40, dtype=np.float32)[:, None, None], 3, 1)
    resized = imresize_bicubic(ramp, new_size, 3)[:, 1, 0]
    expected = (np.arange(new_size) + 0.5) * 40 / new_size - 0.5
    inside = (expected > 6) & (expected < 33)
    np.testing.assert_allclose(resized[inside], expected[inside], atol=1e-3)


@pytest.mark.parametrize("new_size", [30, 50, 64, 90])
def test_resize_equals_torch_inside(new_size: int) -> None:
    """torch's antialiased bicubic has the same kernel; only the treatment of edges differs."""
    image = np.random.default_rng(2).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    ours = imresize_bicubic(image, new_size, new_size)
    x = torch.from_numpy(image.transpose(2, 0, 1))[None]
    theirs = torch.nn.functional.interpolate(
        x, (new_size, new_size), mode="bicubic", antialias=True, align_corners=False
    )
    margin = 8
    inside = (slice(margin, -margin), slice(margin, -margin))
    np.testing.assert_allclose(ours[inside], theirs[0].numpy().transpose(1, 2, 0)[inside], atol=2e-2)


def test_resize_to_the_same_size_changes_nothing() -> None:
    image = np.random.default_rng(3).uniform(0, 255, (9, 14, 3)).astype(np.float32)
    np.testing.assert_allclose(imresize_bicubic(image, 9, 14), image, atol=1e-4)


def test_resize_mirrors_edges_as_matlab() -> None:
    """imresize([0 100 0 0], [1 8], 'bicubic'), by hand from MATLAB's kernel and mirroring."""
    row = np.array([0, 100, 0, 0], np.float32)[None, :, None]
    at = {0.25: 86.71875, 0.75: 22.65625, 1.25: -7.03125, 1.75: -2.34375}  # 100 times the kernel
    # The first output, at -0.25, sees the pixel 1.25 away and its mirror image 1.75 away.
    expected = [at[1.25] + at[1.75], at[0.75], at[0.25], at[0.25], at[0.75], at[1.25], at[1.75], 0]
    np.testing.assert_allclose(imresize_bicubic(row, 1, 8)[0, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize("preprocessing", [FOLDED, IMAGE])
@pytest.mark.parametrize("info", [FLOAT32, PIXELS])
def test_writing_in_place_equals_returning(preprocessing: Preprocessing, info: TensorInfo) -> None:
    image = np.random.default_rng(0).uniform(100, 130, (40, 40, 3)).astype(np.float32)
    preprocess = Preprocessor(preprocessing, image, info)
    out = np.empty(PATCHES.shape, info.dtype)
    assert preprocess(PATCHES, out) is out
    np.testing.assert_array_equal(preprocess(PATCHES), out)


def test_mean_images_of_many_sizes_are_not_all_kept() -> None:
    image = np.random.default_rng(0).uniform(100, 130, (40, 40, 3)).astype(np.float32)
    preprocess = Preprocessor(IMAGE, image, FLOAT32)
    first = preprocess(PATCHES)
    for size_px in range(34, 64):
        preprocess(np.zeros((1, size_px, size_px, 3), np.uint8))
    assert len(preprocess._resized) <= MOST_MEAN_IMAGES
    assert all(mean.flags.c_contiguous for mean in preprocess._resized.values())
    np.testing.assert_array_equal(preprocess(PATCHES), first)


def test_probe_pattern_is_fixed_and_without_symmetry() -> None:
    probe = probe_pattern(160)
    assert probe.shape == (1, 160, 160, 3)
    assert probe.dtype == np.uint8
    assert int(probe.astype(np.int64).sum()) == int(probe_pattern(160).astype(np.int64).sum())
    picture = probe[0].astype(int)
    for other in (picture[::-1], picture[:, ::-1], picture.transpose(1, 0, 2), picture[..., ::-1]):
        assert np.abs(picture - other).mean() > 10
    assert picture.std() > 30


def test_fingerprint_sees_swaps() -> None:
    level = np.arange(6 * 4 * 2, dtype=np.float32).reshape(1, 6, 4, 2)
    (values,) = fingerprint([level])
    assert len(values) == 8
    assert values[0] == pytest.approx(level[0, :3, :2, :1].mean())
    assert values[7] == pytest.approx(level[0, 3:, 2:, 1:].mean())
    assert fingerprint([level[..., ::-1]]) != (values,)
    assert fingerprint([level[:, ::-1]]) != (values,)
    assert fingerprint([level[:, :, ::-1]]) != (values,)
