from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.datasets.base import Sequence
from benchmarks.scores import (
    Scored,
    by_attribute,
    got10k_overlaps,
    score_track,
    sequence_figures,
    speed_figures,
    summary,
)
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth

TRUTH = np.array([[0, 0, 10, 10]] * 4, float)
EMPTY = np.empty(0)


def sequence_of(truth: np.ndarray[Any, Any] = TRUTH, layout: str = "otb", **more: Any) -> Sequence:
    frames = tuple(Path(f"{n}.jpg") for n in range(len(truth)))
    valid = np.isfinite(truth).all(1)
    return Sequence("Basket", layout, frames, GroundTruth(truth, valid), split="dev", **more)


def scored_of(boxes: Any, sequence: Sequence, **more: Any) -> Scored:
    given = {"times_ms": None, "row": None, "frame_size": (40, 30)} | more
    return score_track(variant="fkcf", sequence=sequence, boxes=np.array(boxes, float), **given)


def test_figures_of_one_sequence() -> None:
    half = [0, 0, 10, 5]
    times_ms = np.array([50.0, 1, 2, 5])
    scored = scored_of(
        [TRUTH[0], TRUTH[0], half, [30, 0, 10, 10]], sequence_of(), times_ms=times_ms, row={"peak_rss_mb": 80}
    )
    figures = sequence_figures(scored)
    assert (figures["frames"], figures["frames_scored"], figures["peak_rss_mb"]) == (4, 4, 80)
    assert figures["auc"] == pytest.approx((10 * 3 / 4 + 10 * 2 / 4) / 21)
    assert figures["p20"] == 3 / 4
    assert figures["init_ms"] == 50
    assert figures["fps"] == pytest.approx(3000 / 8)  # frames over wall time, not a mean of rates
    assert figures["p50_ms"] == 2
    assert "ao" not in figures


def test_a_track_has_one_box_a_frame() -> None:
    with pytest.raises(SourceError, match="fkcf, dev/Basket: 2 boxes for 4 frames; run without --score-only"):
        scored_of(TRUTH[:2], sequence_of())


def test_got10k_counts_all_but_the_first_frame_inside_the_picture() -> None:
    truth = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [35, 0, 10, 10], [np.nan] * 4, [0, 0, 4, 4]])
    boxes = np.array([[9, 9, 1, 1], [0, 0, 10, 7], [35, 0, 5, 10], [0, 0, 1, 1], [-3, 0, 4, 4]], float)
    found = got10k_overlaps(boxes, sequence_of(truth, "got10k"), (40, 30))
    # 0.7; what reaches out is cut off; a corner outside is moved in with its size as it was.
    np.testing.assert_allclose(found, [0.7, 1, 1])
    figures = sequence_figures(scored_of(boxes, sequence_of(truth, "got10k")))
    assert (figures["ao"], figures["sr50"], figures["sr75"]) == pytest.approx((0.9, 1, 2 / 3))


def test_without_truth_there_is_speed_but_no_score() -> None:
    truth = np.full((4, 4), np.nan)
    truth[0] = TRUTH[0]
    scored = scored_of(TRUTH, sequence_of(truth, "got10k"), times_ms=np.array([9.0, 1, 1, 1]))
    figures = summary([scored])
    assert (figures["auc"], figures["p20"], figures["success"]) == (None, None, None)
    assert figures["fps"] == 1000
    assert "ao" not in figures


def test_means_over_sequences_and_speed_over_frames() -> None:
    perfect = scored_of(TRUTH, sequence_of(), times_ms=np.array([30.0, 1, 1, 1]), row={"peak_rss_mb": 50})
    lost = scored_of(
        TRUTH[:3] + 100, sequence_of(TRUTH[:3]), times_ms=np.array([10.0, 5, 5]), row={"peak_rss_mb": 70}
    )
    figures = summary([perfect, lost])
    assert (figures["sequences"], figures["frames"], figures["peak_rss_mb"]) == (2, 7, 70)
    assert figures["auc"] == pytest.approx(20 / 21 / 2)
    assert figures["p20"] == 0.5
    assert figures["init_ms"] == 20
    assert figures["fps"] == pytest.approx(5000 / 13)
    assert figures["p50_ms"] == 1
    np.testing.assert_allclose(figures["success"], [0.5] * 20 + [0])
    assert len(figures["precision"]) == 51


def test_states_add_up() -> None:
    rows: list[dict[str, Any]] = [{"states": {"tracking": 3}}, {"states": {"tracking": 1, "lost": 2}}, {}]
    several = [scored_of(TRUTH, sequence_of(), row=row) for row in rows]
    assert summary(several)["states"] == {"tracking": 4, "lost": 2}


def test_attributes_take_the_sequences_that_have_them() -> None:
    perfect = scored_of(TRUTH, sequence_of(attributes=frozenset({"OCC", "IV"})))
    lost = scored_of(TRUTH + 100, sequence_of(attributes=frozenset({"OCC"})))
    found = by_attribute([perfect, lost])
    assert list(found) == ["IV", "OCC"]
    assert found["IV"] == pytest.approx((20 / 21, 1))
    assert found["OCC"] == pytest.approx((10 / 21, 2))


@pytest.mark.parametrize("times_ms", [EMPTY, np.zeros(3)])
def test_no_times_no_speed(times_ms: np.ndarray[Any, Any]) -> None:
    assert speed_figures(times_ms) == dict.fromkeys(("fps", "p50_ms", "p95_ms", "p99_ms"))
