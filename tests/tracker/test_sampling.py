"""Cutting samples: what lies where, and what lies outside."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.trackers.sampling import decimated_patch, is_grey, patch_of_size, round_half_up
from tests.oracle.sampling import crop, resized

ROWS, COLUMNS = 9, 12
FRAME = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), dtype=np.uint8)
MARGIN = 80


def padded_crop(frame: np.ndarray, top: int, left: int, rows: int, columns: int) -> np.ndarray:
    wide = np.pad(frame, ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="edge")
    return wide[MARGIN + top : MARGIN + top + rows, MARGIN + left : MARGIN + left + columns]


def bright(rows: int, columns: int, row: int, column: int) -> np.ndarray:
    frame = np.zeros((rows, columns, 3), np.uint8)
    frame[row, column] = 255
    return frame


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (4, 3), (9, 12), (25, 30)])
def test_crop_equals_padding_with_the_edge(channels: int, size: tuple[int, int]) -> None:
    frame = FRAME[..., :channels]
    for top in (-30, -9, -4, -3, -1, 0, 2, 5, 8, 9, 25):
        for left in (-32, -30, -12, -3, -2, 0, 4, 9, 11, 12, 30):
            patch = crop(frame, top, left, *size)
            assert patch.dtype == np.uint8
            np.testing.assert_array_equal(patch, padded_crop(frame, top, left, *size))


@given(
    size=st.tuples(st.integers(1, ROWS), st.integers(1, COLUMNS)),
    place=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    cut=st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
@settings(max_examples=200, deadline=None)
def test_crop_equals_padding_anywhere(
    size: tuple[int, int], place: tuple[int, int], cut: tuple[int, int]
) -> None:
    frame = FRAME[: size[0], : size[1]]
    np.testing.assert_array_equal(crop(frame, *place, *cut), padded_crop(frame, *place, *cut))


def test_crop_inside_is_a_view() -> None:
    assert np.shares_memory(crop(FRAME, 1, 2, 5, 5), FRAME)
    assert not np.shares_memory(crop(FRAME, -1, 2, 5, 5), FRAME)


@pytest.mark.parametrize(("side", "place"), [(20, 9), (21, 10), (40, 19), (41, 20)])
def test_decimated_patch_has_its_centre_in_the_middle_or_before_it(side: int, place: int) -> None:
    frame = bright(100, 120, 50, 61)
    patch = decimated_patch(frame, (50, 61), side, side)
    assert patch.shape == (side, side, 3)
    assert [tuple(p) for p in np.argwhere(patch[..., 0])] == [(place, place)]


@pytest.mark.parametrize(("side", "place"), [(20, 9), (21, 9), (40, 19), (41, 19)])
def test_patch_of_size_has_its_centre_at_half_the_side_less_one(side: int, place: int) -> None:
    """As the authors' program: for an odd side one pixel before the middle."""
    patch = patch_of_size(bright(100, 120, 50, 61), (50, 61), side, side, (side, side))
    assert [tuple(p) for p in np.argwhere(patch[..., 0])] == [(place, place)]


def test_patch_of_size_takes_rows_and_columns_apart() -> None:
    patch = patch_of_size(bright(100, 120, 50, 61), (50, 61), 20, 31, (20, 31))
    assert [tuple(p) for p in np.argwhere(patch[..., 0])] == [(9, 14)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("centre", [(4, 6), (0, 0), (8, 11), (-5, 3), (4, 40)])
@pytest.mark.parametrize("side", [6, 7])
def test_at_its_own_size_nothing_is_resampled(channels: int, centre: tuple[int, int], side: int) -> None:
    frame = FRAME[..., :channels]
    start = (side - 1) // 2
    expected = padded_crop(frame, centre[0] - start, centre[1] - start, side, side)
    np.testing.assert_array_equal(decimated_patch(frame, centre, side, side), expected)
    start = side // 2 - 1
    expected = padded_crop(frame, centre[0] - start, centre[1] - start, side, side)
    np.testing.assert_array_equal(patch_of_size(frame, centre, side, side, (side, side)), expected)


@pytest.mark.parametrize("centre", [(50, 61), (51, 60), (52, 62), (0, 0), (-7, 130)])
@pytest.mark.parametrize(("step", "side"), [(2, 8), (2, 9), (3, 12), (3, 13)])
def test_a_large_sample_takes_every_kth_pixel_and_the_centre_among_them(
    centre: tuple[int, int], step: int, side: int
) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    # As small as the step allows: what is left of the frame is no larger than the output.
    patch = decimated_patch(frame, centre, side * (step + 0.1) + 0.05, side)
    small = frame[centre[0] % step :: step, centre[1] % step :: step]
    offsets = np.arange(side) - (side - 1) // 2
    rows, columns = (
        np.clip(at // step + offsets, 0, n - 1) for at, n in zip(centre, small.shape[:2], strict=True)
    )
    np.testing.assert_array_equal(patch, small[np.ix_(rows, columns)])


@pytest.mark.parametrize(
    ("ratio", "step"), [(0.5, 1), (1.0, 1), (2.0, 1), (2.09, 1), (2.11, 2), (3.0, 2), (3.11, 3), (3.2, 3)]
)
def test_how_many_pixels_are_left_out(ratio: float, step: int) -> None:
    """k = floor(side / output - 0.1): of lines that come every k rows all is seen, every k + 1 not."""

    def seen(lines_px: int) -> np.ndarray:
        frame = np.zeros((200, 200, 3), np.uint8)
        frame[100 % lines_px :: lines_px] = 200
        return decimated_patch(frame, (100, 100), 20 * ratio, 20)

    assert (seen(step) == 200).all()
    assert not (seen(step + 1) == 200).all()


def test_a_tiny_sample_is_at_least_two_pixels() -> None:
    patch = decimated_patch(FRAME, (4, 6), 0.3, 8)
    assert patch.shape == (8, 8, 3)
    np.testing.assert_array_equal(patch[0, 0], FRAME[4, 6])
    np.testing.assert_array_equal(patch[-1, -1], FRAME[5, 7])


@pytest.mark.parametrize("output", [(4, 4), (5, 10)])
def test_patch_of_size_averages_when_it_shrinks(output: tuple[int, int]) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    patch = patch_of_size(frame, (30, 30), 20, 20, output)
    cut = frame[21:41, 21:41].astype(float)
    rows, columns = output
    blocks = cut.reshape(rows, 20 // rows, columns, 20 // columns, 3).mean((1, 3))
    np.testing.assert_allclose(patch, blocks, atol=0.51)


def test_patch_of_size_interpolates_when_it_grows() -> None:
    """The new columns against the old rows decide, as in the authors' program."""
    frame = np.random.default_rng(3).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    cut = frame[26:36, 16:46]
    grown = patch_of_size(frame, (30, 30), 10, 30, (5, 12))  # 12 columns from 10 rows
    np.testing.assert_array_equal(grown, cv2.resize(cut, (12, 5), interpolation=cv2.INTER_LINEAR))
    shrunk = patch_of_size(frame, (30, 30), 10, 30, (5, 10))
    np.testing.assert_array_equal(shrunk, cv2.resize(cut, (10, 5), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("channels", [1, 3])
def test_resized_keeps_the_channel_axis(channels: int) -> None:
    patch = FRAME[..., :channels]
    assert resized(patch, 4, 5, cv2.INTER_AREA).shape == (4, 5, channels)
    assert resized(patch, ROWS, COLUMNS, cv2.INTER_AREA) is patch


@pytest.mark.parametrize(
    ("x", "expected"),
    [(0.5, 1), (1.5, 2), (2.5, 3), (2.4999, 2), (-0.5, 0), (-1.5, -1), (-0.51, -1), (3.0, 3), (0.0, 0)],
)
def test_halves_go_up(x: float, expected: int) -> None:
    rounded = round_half_up(x)
    assert rounded == expected
    assert isinstance(rounded, int)


def test_is_grey_wants_all_three_channels_equal_everywhere() -> None:
    grey = FRAME[..., :1].repeat(3, 2)
    assert is_grey(grey)
    assert not is_grey(FRAME)
    for channel in range(3):
        coloured = grey.copy()
        coloured[-1, -1, channel] ^= 1
        assert not is_grey(coloured)
