from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.golden import compare, main, means
from edge_runtime.evaluation import GroundTruth
from tests.benchmarks.fakes import MOVING, STILL, write_boxes, write_otb

TRUTH = GroundTruth(np.array([[10, 10, 20, 20]] * 12, float), np.ones(12, bool))


def test_tracks_are_compared_where_golden_succeeds() -> None:
    golden = TRUTH.boxes.copy()
    golden[11, 0] = 100  # golden fails in the last frame
    ours = TRUTH.boxes.copy()
    ours[3, 0] += 0.5
    ours[10, 1] += 10  # after the frames that bind tightly
    found = compare("Basket", ours, golden, TRUTH)
    assert (found.frames, found.golden_succeeds, found.apart_at) == (12, 11, 11)
    ious = [1.0] * 9 + [19.5 / 20.5, 10 / 30]
    assert found.mean_iou == pytest.approx(np.mean(ious))
    assert found.tight_px == pytest.approx(0.5)
    assert found.auc == pytest.approx((20 * 11 + 7) / 12 / 21)
    assert found.golden_auc == pytest.approx(20 * 11 / 12 / 21)
    assert found.auc_difference == pytest.approx(found.auc - found.golden_auc)


def test_the_same_track_and_a_golden_failure() -> None:
    same = compare("A", TRUTH.boxes, TRUTH.boxes, TRUTH)
    assert (same.mean_iou, same.tight_px, same.apart_at, same.auc_difference) == (1, 0, None, 0)
    failed = compare("B", TRUTH.boxes, TRUTH.boxes + [100, 100, 0, 0], TRUTH)
    assert (failed.mean_iou, failed.golden_succeeds, failed.apart_at) == (None, 0, 1)
    mean = means([same, failed])
    assert (mean["sequences"], mean["mean_iou"], mean["lowest_iou"]) == (2, 1, 1)
    assert mean["golden_auc"] == pytest.approx(10 / 21)
    assert mean["tight_px"] == pytest.approx(np.hypot(100, 100))


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, boxes in (("Basket", MOVING), ("Couple", STILL), ("Extra", STILL)):
        write_otb(tmp_path / "dev" / name, boxes)
    for name in ("Basket", "Couple"):
        write_boxes(tmp_path / "golden" / f"{name}.txt", MOVING, offset=1)
        write_boxes(tmp_path / "boxes" / f"{name}.txt", STILL)
    arguments = ["--golden", str(tmp_path / "golden"), "--sequences", str(tmp_path / "dev")]
    arguments += ["--boxes", str(tmp_path / "boxes"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    written = json.loads((tmp_path / "out" / "parity.json").read_text())
    assert [row["sequence"] for row in written["sequences"]] == ["Basket", "Couple"]
    assert written["mean"]["tight_px"] == 3
    text = (tmp_path / "out" / "parity.md").read_text()
    assert capsys.readouterr().out == text
    assert "| Basket | 4 | 4 | 0.756 | 3.000 | 3 |" in text
    assert "Mean IoU below 0.85: Basket, Couple." in text


def test_files_that_do_not_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_otb(tmp_path / "dev" / "Basket", MOVING)
    arguments = ["--golden", str(tmp_path / "golden"), "--sequences", str(tmp_path / "dev")]
    arguments += ["--boxes", str(tmp_path / "boxes")]
    assert main(arguments) == 2
    assert "has no file of a sequence that" in capsys.readouterr().err
    write_boxes(tmp_path / "golden" / "Basket.txt", MOVING[:3], offset=1)
    write_boxes(tmp_path / "boxes" / "Basket.txt", MOVING[:2])
    assert main(arguments) == 2
    assert "2 boxes of ours, 3 golden ones and 4 frames; give the boxes" in capsys.readouterr().err
    write_boxes(tmp_path / "golden" / "Basket.txt", MOVING, offset=1)
    assert main(arguments) == 0
    assert "| Basket | 2 | 2 | 1.000 |" in capsys.readouterr().out
