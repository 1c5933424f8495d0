"""Intensity and Color Names against loops over cells and pixels; the table's reader."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.io

from edge_runtime.errors import ConfigError, WeightsError
from edge_runtime.trackers.colour import colour_names, grey, load_colour_names

SHAPES = [((1, 16, 20), 4), ((3, 11, 14), 4), ((2, 9, 7), 3), ((1, 5, 6), 1)]


def pictures(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(32768, 10)).astype(np.float32)


def cell_by_cell(patches: np.ndarray, cell: int, value) -> np.ndarray:
    """Mean of `value` (of one pixel, BGR) over every cell, in loops."""
    rows, columns = patches.shape[1:3]
    return np.array(
        [
            [
                [
                    np.mean(
                        [
                            value([int(v) for v in patch[y, x]])
                            for y in range(row * cell, (row + 1) * cell)
                            for x in range(column * cell, (column + 1) * cell)
                        ],
                        axis=0,
                    )
                    for column in range(columns // cell)
                ]
                for row in range(rows // cell)
            ]
            for patch in patches
        ]
    )


@pytest.mark.parametrize(("shape", "cell"), SHAPES)
def test_grey_of_colour_is_the_mean_of_rgb2gray(shape, cell):
    patches = pictures((*shape, 3))

    def luma(pixel):
        blue, green, red = pixel
        y = 0.298936021293775 * red + 0.587043074451121 * green + 0.114020904255103 * blue
        return [y / 255 - 0.5]

    features = grey(patches, cell)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, cell_by_cell(patches, cell, luma), atol=3e-7)


@pytest.mark.parametrize(("shape", "cell"), SHAPES)
def test_grey_of_one_channel_is_its_mean(shape, cell):
    patches = pictures((*shape, 1))
    expected = cell_by_cell(patches, cell, lambda pixel: [pixel[0] / 255 - 0.5])
    np.testing.assert_allclose(grey(patches, cell), expected, atol=3e-7)


def test_grey_goes_from_minus_to_plus_one_half():
    patches = np.zeros((2, 8, 8, 3), np.uint8)
    patches[1] = 255
    features = grey(patches, 4)
    np.testing.assert_allclose(features[0], -0.5)
    np.testing.assert_allclose(features[1], 0.5, atol=1e-6)


@pytest.mark.parametrize(("shape", "cell"), SHAPES)
def test_colour_names_are_the_mean_of_the_table_entries(shape, cell, table):
    patches = pictures((*shape, 3))

    def entry(pixel):
        blue, green, red = pixel
        return table[red // 8 + 32 * (green // 8) + 32 * 32 * (blue // 8)].astype(float)

    features = colour_names(patches, table, cell)
    assert features.dtype == np.float32
    assert features.shape == (shape[0], shape[1] // cell, shape[2] // cell, 10)
    np.testing.assert_allclose(features, cell_by_cell(patches, cell, entry), atol=1e-6)


def test_both_do_not_depend_on_where_the_patch_lies_in_memory(table):
    frame = pictures((1, 60, 70, 3))
    for left in range(8):
        view = frame[:, 7:39, left : left + 41]
        np.testing.assert_array_equal(grey(view, 4), grey(view.copy(), 4))
        np.testing.assert_array_equal(colour_names(view, table, 4), colour_names(view.copy(), table, 4))


def test_without_a_whole_cell_the_map_is_empty(table):
    patches = np.zeros((1, 3, 9, 3), np.uint8)
    assert grey(patches, 4).shape == (1, 0, 2, 1)
    assert colour_names(patches, table, 4).shape == (1, 0, 2, 10)


def test_colour_names_of_grey_patches_are_refused(table):
    with pytest.raises(ConfigError, match="three channels"):
        colour_names(np.zeros((1, 8, 8, 1), np.uint8), table, 4)


def test_npy_and_mat_give_the_same_table(tmp_path, table):
    np.save(tmp_path / "cn.npy", table)
    scipy.io.savemat(tmp_path / "cn.mat", {"CNnorm": table.astype(float), "inputType": "color", "nDim": 10})
    for name in ("cn.npy", "cn.mat"):
        loaded = load_colour_names(tmp_path / name)
        assert loaded.dtype == np.float32
        assert loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, table)


def test_columns_of_red_green_and_blue_are_left_out(tmp_path):
    names = np.random.default_rng(0).random((32768, 11)).astype(np.float32)
    level = np.arange(32768)
    rgb = np.stack([level % 32, level // 32 % 32, level // 1024], axis=1) * 8 + 3.5
    scipy.io.savemat(tmp_path / "w2c.mat", {"w2c": np.hstack([rgb, names])})
    np.testing.assert_array_equal(load_colour_names(tmp_path / "w2c.mat"), names)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "does not exist"),
        ("none.mat", None, "does not exist"),
        ("table.txt", b"1 2 3", "unknown suffix"),
        ("damaged.npy", b"no table", "cannot be read as a .npy file"),
        ("damaged.mat", b"no table", "cannot be read as a .mat file"),
    ],
)
def test_an_unreadable_file_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        load_colour_names(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((100, 11)), "not a table"),
        (np.zeros(32768), "not a table"),
        (np.zeros((32768, 11), complex), "not a table"),
        (np.full((32768, 11), np.nan), "not finite"),
    ],
)
def test_a_wrong_array_is_one_line(tmp_path, array, message):
    np.save(tmp_path / "cn.npy", array)
    with pytest.raises(WeightsError, match=message):
        load_colour_names(tmp_path / "cn.npy")


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_a_mat_file_with_no_or_two_tables_is_one_line(tmp_path, names):
    scipy.io.savemat(
        tmp_path / "cn.mat", {"x": np.zeros(3), **{name: np.zeros((32768, 2)) for name in names}}
    )
    with pytest.raises(WeightsError, match=f"holds {len(names)} numeric matrices"):
        load_colour_names(tmp_path / "cn.mat")


def test_without_scipy_a_mat_file_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "cn.mat").write_bytes(b"MATLAB 5.0")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(WeightsError, match="only scipy reads"):
        load_colour_names(tmp_path / "cn.mat")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "cn.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_colour_names(tmp_path / "cn.npy")
