from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth, centre_error_px, evaluate, iou, read_groundtruth
from edge_runtime.types import Box

side = st.integers(1, 30)
box = st.tuples(st.integers(0, 30), st.integers(0, 30), side, side)


def truth_of(*boxes: tuple[float, ...]) -> GroundTruth:
    return GroundTruth(np.array(boxes, float), np.ones(len(boxes), bool))


@given(box, box)
def test_iou_counts_pixels(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    masks = np.zeros((2, 60, 60), bool)
    for mask, (x, y, w, h) in zip(masks, (a, b), strict=True):
        mask[y : y + h, x : x + w] = True
    expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
    assert iou(np.array([a], float), np.array([b], float))[0] == pytest.approx(expected)


def test_overlap_and_distance_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 4, 6]], float)
    b = np.array([[5, 0, 10, 10], [10, 0, 10, 10], [np.nan] * 4, [1, 1, 2, 2]], float)
    np.testing.assert_allclose(iou(a, b), [50 / 150, 0, 0, 4 / 24])
    np.testing.assert_allclose(centre_error_px(a, b), [5, 10, np.nan, 1])


def test_success_and_precision_by_hand() -> None:
    truth = truth_of(*[(0, 0, 10, 10)] * 4)
    # IoU 1, exactly 0.5 (not above the threshold of 0.5), 0, and no box at all.
    score = evaluate({0: Box(0, 0, 10, 10), 1: Box(0, 0, 10, 5), 2: Box(20, 0, 10, 10), 3: None}, truth)
    assert score.frames == 4
    expected = [2 / 4] * 10 + [1 / 4] * 10 + [0]
    np.testing.assert_allclose(score.success, expected)
    assert score.success_auc == pytest.approx((10 * 0.5 + 10 * 0.25) / 21)
    # Distances 0, 2.5, exactly 20 (counts), none.
    assert score.precision_20px == 3 / 4
    np.testing.assert_array_equal(score.precision, [1 / 4] * 3 + [2 / 4] * 17 + [3 / 4] * 31)


def test_a_perfect_track_scores_twenty_of_twenty_one() -> None:
    truth = truth_of((3, 4, 10, 20), (5, 6, 11, 21))
    score = evaluate({0: Box(3, 4, 10, 20), 1: Box(5, 6, 11, 21)}, truth)
    assert score.success_auc == pytest.approx(20 / 21)
    assert score.precision_20px == 1


def test_frames_count_from_the_first_box_to_the_last_record() -> None:
    truth = truth_of(*[(0, 0, 10, 10)] * 6)
    good = Box(0, 0, 10, 10)
    assert evaluate({0: None, 1: None, 2: good, 3: good}, truth).frames == 2
    score = evaluate({2: good, 4: good}, truth)
    assert (score.frames, score.precision_20px) == (3, pytest.approx(2 / 3))
    assert evaluate(dict.fromkeys(range(20), good), truth).frames == 6
    for nothing in ({}, {0: None}, {9: good}):
        with pytest.raises(SourceError, match="no frame has both"):
            evaluate(nothing, truth)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", ", "   "])
def test_otb_truth_is_one_based_and_takes_every_separator(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "groundtruth_rect.1.txt"
    path.write_text(
        "\r\n".join(separator.join(line) for line in (("1", "2", "3", "4"), ("5.5", "6", "7", "8")))
    )
    truth = read_groundtruth(path)
    np.testing.assert_array_equal(truth.boxes, [[0, 1, 3, 4], [4.5, 5, 7, 8]])
    assert truth.box(0) == Box(0, 1, 3, 4)
    assert truth.box(2) is None


def test_got10k_truth_is_zero_based(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth.txt"
    path.write_text("0.000,-2.5,3.0,4.0\n1,1,0,5\n")
    truth = read_groundtruth(path)
    assert truth.box(0) == Box(0, -2.5, 3, 4)
    assert truth.box(1) is None


@pytest.mark.parametrize(("one_based", "x"), [(True, 0), (False, 1)])
def test_truth_of_any_name_and_convention(tmp_path: Path, one_based: bool, x: int) -> None:
    (tmp_path / "bike1.txt").write_text("1,1,10,10\nNaN,NaN,NaN,NaN\n")
    truth = read_groundtruth(tmp_path / "bike1.txt", one_based=one_based)
    assert truth.box(0) == Box(x, x, 10, 10)
    assert truth.box(1) is None


def test_frames_without_truth_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "groundtruth_rect.txt"
    path.write_text("1,1,10,10\nNaN,NaN,NaN,NaN\n0,0,0,0\n5,5,-1,3\n0,5,10,10\n1,1,10,10\n\n")
    truth = read_groundtruth(path)
    np.testing.assert_array_equal(truth.valid, [True, False, False, False, False, True])
    score = evaluate({index: Box(0, 0, 10, 10) for index in range(6)}, truth)
    assert (score.frames, score.precision_20px) == (2, 1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("groundtruth.txt", "1,2,3\n", r"groundtruth.txt:1: 3 numbers, not the four of a box"),
        ("groundtruth.txt", "1,2,3,4\n1,2,x,4\n", r"groundtruth.txt:2: '1,2,x,4' is not a box"),
        ("groundtruth.txt", "1,2,3,4\n\n1,2,3,4\n", r"groundtruth.txt:2: '' is not a box"),
        ("groundtruth.txt", "\n", "holds no boxes"),
        ("boxes.txt", "1,2,3,4\n", "the name does not tell the convention"),
    ],
)
def test_bad_truth(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=expected):
        read_groundtruth(tmp_path / name)


def test_truth_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_groundtruth(tmp_path / "groundtruth.txt")


def test_the_authors_track_scores_like_the_published_one(shared_data: Path) -> None:
    """Their ECO-HC on Crossing, run anew, against the score computed from their published boxes."""
    truth = read_groundtruth(shared_data / "sequences/dev/Crossing/groundtruth_rect.txt")
    boxes = np.loadtxt(shared_data / "golden/ECO_HC/Crossing.txt", delimiter=",")
    track = {i: Box(x - 1, y - 1, w, h) for i, (x, y, w, h) in enumerate(boxes)}
    table = (shared_data / "published/otb2015_per_sequence.csv").read_text().splitlines()
    published = next(line for line in table if line.startswith("ECO-HC,dev,Crossing,")).split(",")
    score = evaluate(track, truth)
    assert score.frames == len(boxes) == 120
    assert score.success_auc == pytest.approx(float(published[3]), abs=0.02)
    assert score.precision_20px == float(published[4])


def test_every_shared_sequence_has_truth_for_each_picture(shared_data: Path) -> None:
    folders = sorted(path.parent for path in shared_data.glob("sequences/*/*/groundtruth_rect.txt"))
    assert len(folders) >= 20
    for folder in folders:
        truth = read_groundtruth(folder / "groundtruth_rect.txt")
        assert len(truth.valid) == len(list((folder / "img").glob("*.jpg"))), folder.name
        assert truth.valid.all(), folder.name
