from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measure import Track
from benchmarks.store import KEY, Store, boxes_text, read_boxes
from edge_runtime.errors import SourceError

TRACK = Track(np.array([[1, 2, 3, 4], [1.23456, -2, 3, 4]]), np.array([9.0, 1.5]), Counter(), (40, 30))
NAMES = ("fkcf_ours_int8", "dev", "Basket")


def row_of(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(KEY, "")
    return (
        row | {"variant": "fkcf ours int8", "split": "dev", "sequence": "Basket", "revision": "a"} | changes
    )


def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    Store(tmp_path).add(TRACK, row_of(frames_limit=0, auc=0.5))
    store = Store(tmp_path)
    row = store.find(row_of(frames_limit=0), any_revision=False)
    assert row is not None
    assert row["auc"] == 0.5
    boxes, times_ms = store.boxes(*NAMES), store.times_ms(*NAMES)
    assert boxes is not None
    assert times_ms is not None
    np.testing.assert_array_equal(boxes, np.array([[1, 2, 3, 4], [1.235, -2, 3, 4]]))
    np.testing.assert_array_equal(times_ms, [9, 1.5])
    assert store.variants() == ["fkcf_ours_int8"]
    assert store.row_of_boxes(*NAMES) == row
    assert store.boxes("fkcf_ours_int8", "dev", "Couple") is None
    text = (tmp_path / "boxes" / "fkcf_ours_int8" / "dev" / "Basket.txt").read_text()
    assert text == "1.000,2.000,3.000,4.000\n1.235,-2.000,3.000,4.000\n"


@pytest.mark.parametrize("changed", [name for name in KEY if name != "revision"])
def test_every_part_of_the_key_counts(tmp_path: Path, changed: str) -> None:
    store = Store(tmp_path)
    store.add(TRACK, row_of())
    assert store.find(row_of(), any_revision=False)
    assert not store.find(row_of(**{changed: "other"}), any_revision=True)


def test_the_revision_counts_unless_told_otherwise(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(TRACK, row_of())
    assert not store.find(row_of(revision="b"), any_revision=False)
    assert store.find(row_of(revision="b"), any_revision=True)


@pytest.mark.parametrize("torn", ['{"variant": "fk', "{}", "\x00\x00"])
def test_a_torn_last_line_is_forgotten(tmp_path: Path, torn: str) -> None:
    Store(tmp_path).add(TRACK, row_of())
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write(torn)
    store = Store(tmp_path)
    assert store.find(row_of(), any_revision=False)
    other = row_of(sequence="Couple")
    store.add(TRACK, other)
    store = Store(tmp_path)
    assert store.find(row_of(), any_revision=False)
    assert store.find(other, any_revision=False)


def test_a_bad_line_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"auc": 1}\n')
    with pytest.raises(SourceError, match=r"results.jsonl:1: is not a result of this version .*; remove"):
        Store(tmp_path)


def test_a_line_counts_only_with_its_boxes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(TRACK, row_of())
    boxes = tmp_path / "boxes" / "fkcf_ours_int8" / "dev" / "Basket.txt"
    boxes.write_text(boxes_text(TRACK.boxes + 1))
    assert store.find(row_of(), any_revision=False) is None
    assert store.row_of_boxes(*NAMES) is None
    boxes.unlink()
    assert store.find(row_of(), any_revision=False) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,3\n", "has 3 numbers a line, not the four of a box"),
        ("1,2,x,4\n", "cannot be read"),
        ("1,2,3,4\n1,2\n", "cannot be read"),
        ("", "holds no numbers"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_files_that_are_not_boxes(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(SourceError, match=expected):
        read_boxes(tmp_path / "a.txt")
