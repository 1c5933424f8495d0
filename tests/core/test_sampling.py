"""Patches of the compiled core against OpenCV's (tests/oracle), byte for byte."""

from __future__ import annotations

import platform
from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.trackers import patches, sampling
from tests.core.levels import every_level
from tests.oracle import patches as oracle_patches
from tests.oracle import sampling as oracle

X86 = platform.machine().lower() in ("x86_64", "amd64")
LINEAR = {"linear": True, "area": False}
every = pytest.mark.parametrize("core", every_level())


def frames(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A frame of 3 or 1 channels, contiguous or not."""
    wide = rng.integers(0, 256, (rows, columns + 3, 3), dtype=np.uint8)
    kind = rng.integers(4)
    if kind == 0:
        return wide[:, 1:-2, 1:2]  # a grey view of a colour frame, in a wider one
    if kind == 1:
        return wide[::-1, -3:0:-1][:, :columns]
    return wide[:, :columns] if kind == 2 else wide[:, :columns].copy()


def cut(core: Any, frame: np.ndarray, part: tuple[int, ...], output: tuple[int, int], how: str) -> np.ndarray:
    out = np.empty((*output, frame.shape[2]), np.uint8)
    core.cut(frame, *part, LINEAR[how], out)
    return out


def opencv(frame: np.ndarray, part: tuple[int, ...], output: tuple[int, int], how: str) -> np.ndarray:
    method = cv2.INTER_LINEAR if how == "linear" else cv2.INTER_AREA
    return oracle.resized(oracle.crop(frame, *part), *output, method)


@every
@pytest.mark.parametrize("how", LINEAR)
@pytest.mark.parametrize("seed", range(4))
def test_a_cut_is_opencv_s(core: Any, how: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    different = total = 0
    for _ in range(150):
        frame = frames(rng, *rng.integers(1, 90, 2))
        output = tuple(int(n) for n in rng.integers(1, 60, 2))
        size = rng.integers(1, 120, 2) if rng.random() < 0.7 else np.multiply(output, rng.integers(1, 5, 2))
        at = rng.integers(-150, 200, 2) if rng.random() < 0.3 else rng.integers(-20, 40, 2)
        part = (*(int(n) for n in at), *(int(n) for n in size))
        found, expected = cut(core, frame, part, output, how), opencv(frame, part, output, how)
        gap = np.abs(found.astype(int) - expected)
        assert gap.max() <= (how == "area"), (frame.shape, part, output)
        different, total = different + np.count_nonzero(gap), total + gap.size
    # Elsewhere OpenCV's own sums are fused and fall on the other side of a tie now and then.
    assert different <= (0 if X86 else 1e-3 * total)


@every
@pytest.mark.parametrize("factor", [2, 3, 4, 6])
@pytest.mark.parametrize("how", LINEAR)
def test_whole_blocks_are_opencv_s_to_the_last_tie(core: Any, factor: int, how: str) -> None:
    frame = np.random.default_rng(factor).integers(0, 256, (240, 300, 3), dtype=np.uint8)
    part, output = (-7, 11, 30 * factor, 40 * factor), (30, 40)
    np.testing.assert_array_equal(cut(core, frame, part, output, how), opencv(frame, part, output, how))


@every
@pytest.mark.parametrize("seed", range(4))
def test_an_affine_cut_is_numpy_s(core: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        frame = frames(rng, *rng.integers(20, 90, 2))
        output = int(rng.integers(1, 60))
        side = output * rng.uniform(0.2, 4)
        # Where hardly anything of the frame is seen, the oracle never ends averaging it.
        centre = tuple(rng.uniform(0, frame.shape[:2]) if side > 2 * output else rng.uniform(-60, 150, 2))
        found = np.empty((output, output, frame.shape[2]), np.uint8)
        core.cut_affine(frame, *centre, side, found)
        expected = oracle_patches.sample_patch(np.ascontiguousarray(frame), centre, side, output)
        np.testing.assert_array_equal(found, expected, err_msg=str((frame.shape, centre, side, output)))


@pytest.mark.parametrize("seed", range(4))
def test_numpy_s_affine_cut_is_opencv_4_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = cv2.__version__.startswith("4.") and X86
    for _ in range(100):
        frame = np.ascontiguousarray(frames(rng, *rng.integers(20, 90, 2)))
        row, column, ratio = *rng.uniform(-60, 150, 2), rng.uniform(0.2, 2)
        size = int(rng.integers(1, 60))
        matrix = np.array([[ratio, 0.0, column], [0.0, ratio, row]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        theirs = cv2.warpAffine(frame, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        ours = oracle_patches.warp(frame, row, column, ratio, size).reshape(theirs.shape)
        # Others do not round places to 1/32 px: half of that, each way, in a picture of noise.
        assert np.abs(ours.astype(int) - theirs).max() <= (0 if exact else 9)


@every
def test_averages_with_many_ties_are_opencv_s(core: Any) -> None:
    """Of smooth pictures, and ratios as 4 / 3 whose means are often exactly between two grey levels."""
    noise = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    for frame in (noise, cv2.GaussianBlur(noise, (0, 0), 3), noise // 128):
        for size in (136, 144, 160, 192, 224, 255, 320):
            part, output = (20, -9, size, size), (128, 128)
            gap = cut(core, frame, part, output, "area").astype(int) - opencv(frame, part, output, "area")
            assert np.abs(gap).max() <= (0 if X86 else 1)
            assert np.count_nonzero(gap) <= 1e-3 * gap.size


@pytest.mark.parametrize("side", [30.0, 55.5, 100.0, 131.0, 290.0])
def test_samples_are_the_oracle_s(side: float) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for centre in ((60, 80), (0, 159), (-30, 40), (115, 300)):
        found = sampling.decimated_patch(frame, centre, side, 50)
        np.testing.assert_array_equal(found, oracle.decimated_patch(frame, centre, side, 50))
        for rows, columns in ((round(side), 40), (45, round(side))):
            found = sampling.patch_of_size(frame, centre, rows, columns, (44, 50))
            expected = oracle.patch_of_size(frame, centre, rows, columns, (44, 50))
            assert np.abs(found.astype(int) - expected).max() <= 1


def test_into_an_array() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    out = np.empty((2, 20, 20, 3), np.uint8)
    assert sampling.decimated_patch(frame, (20, 20), 30, 20, out=out[0]).base is out
    assert patches.sample_patch(frame, (20, 20), 30, 20, out=out[1]).base is out
    np.testing.assert_array_equal(out[0], sampling.decimated_patch(frame, (20, 20), 30, 20))
    for call in (
        lambda: sampling.patch_of_size(frame, (20, 20), 30, 30, (20, 21), out=out[0]),
        lambda: patches.sample_patch(frame, (20, 20), 30.0, 21, out=out[0]),
        lambda: sampling.decimated_patch(frame, (20, 20), 30, 20, out=np.empty((20, 20, 1), np.uint8)),
    ):
        with pytest.raises(ValueError, match=r"fit|output"):
            call()


@every
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 1, 1), (1, 300, 3), (200, 1, 1)])
def test_frames_of_one_row_or_column(core: Any, shape: tuple[int, ...]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for how in LINEAR:
        for part in ((-3, -4, 9, 11), (0, 0, 1, 1), (5, 5, 40, 2), (-500, 700, 900, 1200)):
            found = cut(core, frame, part, (8, 9), how).astype(int)
            assert np.abs(found - opencv(frame, part, (8, 9), how)).max() <= 1
    out = np.empty((8, 8, shape[2]), np.uint8)
    core.cut_affine(frame, 0.0, 0.0, 80.0, out)
    if frame.size == shape[2]:
        np.testing.assert_array_equal(out, np.broadcast_to(frame, out.shape))


@every
def test_huge_and_far_cuts(core: Any) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    corner = np.broadcast_to(frame[-1, 0], (10, 12, 3))
    for how in LINEAR:
        for size in (5, 5000, 1 << 24):
            part = (10**18, -(10**18), size, size)
            np.testing.assert_array_equal(cut(core, frame, part, (10, 12), how), corner)
    gap = cut(core, frame, (-2400, -2300, 5000, 5000), (40, 40), "area").astype(int)
    gap -= opencv(frame, (-2400, -2300, 5000, 5000), (40, 40), "area")
    assert np.abs(gap).max() <= 1
    out = np.empty((10, 10, 3), np.uint8)
    core.cut_affine(frame, 1e300, -1e300, 30.0, out)
    np.testing.assert_array_equal(out, corner[:, :10])
    core.cut_affine(frame, 1e300, -1e300, 1e7, out)
    np.testing.assert_array_equal(out, corner[:, :10])


@every
def test_what_is_refused(core: Any) -> None:
    frame, out = np.zeros((20, 30, 3), np.uint8), np.empty((8, 8, 3), np.uint8)
    for size in ((0, 5), (5, -1), ((1 << 24) + 1, 5)):
        with pytest.raises(ValueError, match="side"):
            core.cut(frame, 0, 0, *size, True, out)
    for at in ((np.nan, 0.0, 9.0), (0.0, np.inf, 9.0), (0.0, 0.0, np.nan), (0.0, 0.0, 0.0), (0.0, 0.0, 1e9)):
        with pytest.raises(ValueError, match=r"finite|side"):
            core.cut_affine(frame, *at, out)
    for bad in (frame[:0], frame[:, :0], frame[..., :2]):
        with pytest.raises(ValueError, match="frame"):
            core.cut(bad, 0, 0, 5, 5, True, out)
    with pytest.raises(TypeError):
        core.cut(frame.astype(np.float32), 0, 0, 5, 5, True, out)
    with pytest.raises(TypeError):
        core.cut(frame, 0, 0, 5, 5, True, out[::2])
    with pytest.raises(ValueError, match="px"):
        sampling.decimated_patch(frame, (5, 5), float("nan"), 8)
