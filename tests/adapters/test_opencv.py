from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edge_runtime.adapters.opencv import OpenCvTracker
from edge_runtime.errors import BoxError, SourceError
from edge_runtime.sources import FakeSource
from edge_runtime.types import Box, TrackState
from tests.adapters.helpers import SIZE_CHANGED, ScriptedTracker, result
from tests.edge.helpers import TemplateTracker, fake_images

FRAME = np.zeros((60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    "make", [lambda: OpenCvTracker(TemplateTracker()), cv2.TrackerMIL_create], ids=["ours", "cv2.TrackerMIL"]
)
def test_a_program_written_for_opencv_runs_either(make: Any) -> None:
    first, *images = fake_images(4)
    x, y, w, h = (int(value) for value in FakeSource().box(0))
    tracker = make()
    assert tracker.init(first, (x, y, w, h)) is None
    for image in images:
        ok, bbox = tracker.update(image)
        assert ok is True
        assert isinstance(bbox, tuple)
        assert [type(value) for value in bbox] == [int] * 4
        drawn = image.copy()
        cv2.rectangle(drawn, bbox, (0, 255, 0))
        assert (drawn != image).any()
    assert tracker.init(first, [x, y, w, h]) is None


def test_boxes_are_whole_pixels_and_the_exact_one_is_there() -> None:
    found = result((10.5001, 20.4, 30.6, 0.2))
    tracker = OpenCvTracker(ScriptedTracker([found]))
    tracker.init(FRAME, (1.5, 2, 30, 20))
    assert tracker.tracker.boxes == [Box(1.5, 2, 30, 20)]
    assert tracker.update(FRAME) == (True, (11, 20, 31, 1))
    assert tracker.result is found


def test_ok_is_false_exactly_when_lost() -> None:
    for state in TrackState:
        tracker = OpenCvTracker(ScriptedTracker([result((1, 2, 3, 4), 0.25, state)]))
        tracker.init(FRAME, (1, 2, 3, 4))
        assert tracker.update(FRAME) == (state is not TrackState.LOST, (1, 2, 3, 4))
        assert tracker.getTrackingScore() == 0.25


def test_the_score_before_the_first_update() -> None:
    tracker = OpenCvTracker(ScriptedTracker([result((1, 2, 3, 4))]))
    assert tracker.getTrackingScore() == 0.0
    tracker.init(FRAME, (1, 2, 3, 4))
    assert tracker.getTrackingScore() == 1.0
    tracker.update(FRAME)
    tracker.init(FRAME, (1, 2, 3, 4))
    assert tracker.getTrackingScore() == 1.0
    assert tracker.result is None


def test_grey_images_are_tracked() -> None:
    tracker = OpenCvTracker(ScriptedTracker([result((1, 2, 3, 4))]))
    tracker.init(FRAME[..., 0], (1, 2, 3, 4))
    tracker.update(FRAME[..., 0])
    assert [image.shape for image in tracker.tracker.shown] == [FRAME.shape] * 2


def test_misuse_is_one_line() -> None:
    tracker = OpenCvTracker(ScriptedTracker([SIZE_CHANGED]))
    with pytest.raises(BoxError, match=r"^OpenCvTracker.update: there is no target yet; call init first$"):
        tracker.update(FRAME)
    with pytest.raises(SourceError, match=r"^OpenCvTracker.init: "):
        tracker.init(None, (1, 2, 3, 4))
    for box in [(1, 2, 3), (1, 2, 0, 4), (float("nan"), 2, 3, 4), (90, 2, 3, 4)]:
        tracker.init(FRAME, (1, 2, 3, 4))
        with pytest.raises(BoxError):
            tracker.init(FRAME, box)
        with pytest.raises(BoxError, match="call init first"):
            tracker.update(FRAME)
    tracker.init(FRAME, (1, 2, 3, 4))
    with pytest.raises(SourceError, match="the first was"):
        tracker.update(FRAME[:4, :4])
