"""A target's life: started by a box, a command or movement; lost, looked for, found again or given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_runtime.config import load_config
from edge_runtime.errors import BoxError, CommandError, ConfigError
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.sources.fake import FakeScript, FakeSource
from edge_runtime.targets.motion import iou
from edge_runtime.targets.settings import TargetConfig
from edge_runtime.targets.targets import Targets, Tracked
from edge_runtime.trackers import make_tracker
from edge_runtime.types import Box, Frame, TrackResult, TrackState
from tests.edge.helpers import TemplateTracker

SCENE = FakeSource(FakeScript(frames=10_000))
WALL = SCENE.image(0).copy()
FRAME_NS = 33_333_333


def frame(image: Frame, index: int) -> CapturedFrame:
    return CapturedFrame(image, index, index * FRAME_NS, None)


def settings(**changes: Any) -> TargetConfig:
    return load_config(None, {f"target.{k.replace('__', '.')}": v for k, v in changes.items()}).target


class Story:
    """Feeds frames to targets."""

    def __init__(
        self, config: TargetConfig, first: Box | None = None, make: Callable[[], Any] = TemplateTracker
    ) -> None:
        self.targets, self.index = Targets(config, make, first), 0

    def see(self, image: Frame, times: int = 1) -> list[Tracked]:
        for _ in range(times):
            found = self.targets.frame(frame(image, self.index))
            self.index += 1
        return found


def states(tracked: list[Tracked]) -> list[tuple[int, TrackState]]:
    return [(t.track_id, t.result.state) for t in tracked]


def test_a_box_starts_a_target_in_its_frame() -> None:
    story = Story(settings(frame=2), SCENE.box(2))
    assert story.see(SCENE.image(0)) == []
    assert story.see(SCENE.image(1)) == []
    (first,) = story.see(SCENE.image(2))
    assert (first.track_id, first.first, first.result.box) == (1, True, SCENE.box(2))
    (second,) = story.see(SCENE.image(3))
    assert (second.track_id, second.first, second.result.box) == (1, False, SCENE.box(3))


def test_an_unusable_first_box_is_an_error() -> None:
    with pytest.raises(BoxError, match="outside"):
        Story(settings(), Box(900, 0, 20, 20)).see(SCENE.image(0))


def test_a_selection_takes_the_place_of_the_last_target_under_a_new_identity() -> None:
    story = Story(settings(), SCENE.box(0))
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    assert states(story.see(SCENE.image(0))) == [(2, TrackState.TRACKING)]
    assert [s["track_id"] for s in story.targets.summary()] == [2]
    story.targets.clear()
    assert story.see(SCENE.image(0)) == []
    assert story.targets.last_id == 2


def test_a_selection_before_the_first_box_takes_its_place() -> None:
    story = Story(settings(frame=50), SCENE.box(0))
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    assert states(story.see(SCENE.image(0))) == [(1, TrackState.TRACKING)]
    assert states(story.see(SCENE.image(0), times=60)) == [(1, TrackState.TRACKING)]


def test_of_two_selections_for_one_frame_the_last_counts() -> None:
    story = Story(settings())
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    story.targets.select(Box(60, 30, 40, 50))
    (only,) = story.see(SCENE.image(0))
    assert only.result.box == Box(60, 30, 40, 50)


def test_bad_commands_are_refused_at_once() -> None:
    story = Story(settings())
    with pytest.raises(CommandError, match="no frame yet"):
        story.targets.select(Box(20, 30, 40, 50))
    story.see(SCENE.image(0))
    with pytest.raises(BoxError, match="lies outside the 320x240 frame"):
        story.targets.select(Box(400, 30, 40, 50))
    with pytest.raises(CommandError, match="there is no target 3"):
        story.targets.clear(3)
    assert story.see(SCENE.image(0)) == []


def test_several_targets_each_with_its_identity() -> None:
    story = Story(settings(most=2), SCENE.box(0))
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    assert [t.track_id for t in story.see(SCENE.image(0))] == [1, 2]
    with pytest.raises(CommandError, match="2 targets are tracked already; clear one"):
        story.targets.select(Box(60, 30, 40, 50))
    story.targets.clear(1)
    assert [t.track_id for t in story.see(SCENE.image(0))] == [2]
    story.targets.select(Box(60, 30, 40, 50))
    assert [t.track_id for t in story.see(SCENE.image(0))] == [2, 3]


def test_the_oldest_frame_size_is_not_taken_for_the_newest() -> None:
    story = Story(settings())
    story.see(SCENE.image(0))
    story.targets.select(Box(250, 200, 40, 30))
    assert story.see(SCENE.image(0)[:100, :100].copy()) == []  # refused in the log, not by an end


def test_pausing_lets_frames_pass() -> None:
    story = Story(settings(), SCENE.box(0))
    story.see(SCENE.image(0))
    story.targets.pause(True)
    assert story.see(SCENE.image(40)) == []
    story.targets.pause(False)
    (tracked,) = story.see(SCENE.image(41))
    assert (tracked.track_id, tracked.result.box) == (1, SCENE.box(41))


def test_a_lost_target_is_given_up_in_time_and_not_before() -> None:
    story = Story(settings(max_lost_s=1.0), SCENE.box(0))
    story.see(SCENE.image(0), times=3)
    grey = np.full_like(WALL, 99)
    assert states(story.see(grey, times=30)) == [(1, TrackState.LOST)]
    assert story.targets.summary()[0]["lost_s"] == pytest.approx(1.0, abs=0.1)
    assert story.see(grey, times=3) == []
    for_ever = Story(settings(), SCENE.box(0))
    for_ever.see(SCENE.image(0), times=3)
    assert states(for_ever.see(grey, times=400)) == [(1, TrackState.LOST)]


def test_closing_ends_every_tracker() -> None:
    closed = []

    class Closing(TemplateTracker):
        def close(self) -> None:
            closed.append(self)

    story = Story(settings(most=2), SCENE.box(0), Closing)
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    story.see(SCENE.image(0))
    story.targets.close()
    assert len(closed) == 2


def test_settings_that_a_tracker_refuses_show_before_the_first_frame() -> None:
    def refuse() -> Any:
        raise ConfigError("no")

    with pytest.raises(ConfigError, match="no"):
        Targets(settings(), refuse, None)


# The real thing: KCF on HOG, which needs no network.


def kcf() -> Any:
    return make_tracker(load_config(None, {"tracker.preset": "kcf"}), None)


def hide_and_return(windows: int, to: int) -> tuple[Story, list[tuple[int, TrackState, float]]]:
    """Track the scene, hide the target for 40 frames, show it again where it is in frame `to`."""
    story = Story(settings(search__windows=windows), SCENE.box(0), kcf)
    for index in range(30):
        story.see(SCENE.image(index))
    gone = without_target(30)
    assert states(story.see(gone, times=40)) == [(1, TrackState.LOST)]
    seen = []
    for _ in range(120):
        ((track_id, result, _),) = story.see(SCENE.image(to))
        seen.append((track_id, result.state, iou(result.box, SCENE.box(to))))
    return story, seen


def without_target(index: int) -> Frame:
    """Frame `index` with wall where its target is: that of a frame in which the target is elsewhere."""
    box = SCENE.box(index)
    other = next(k for k in range(index, index + 90) if iou(SCENE.box(k), box) == 0)
    image, (x, y, w, h) = SCENE.image(index), (int(v) for v in box)
    image[y : y + h, x : x + w] = SCENE.image(other)[y : y + h, x : x + w]
    return image


def test_a_target_that_comes_back_far_away_is_found_under_its_identity_within_a_round_of_the_frame() -> None:
    _, seen = hide_and_return(windows=1, to=75)
    round_frames = 8 * 6  # 320x240 px in steps of 40
    found = [
        n for n, (_, state, overlap) in enumerate(seen) if state is TrackState.TRACKING and overlap > 0.5
    ]
    assert found
    assert found[0] <= 2 * round_frames
    assert {track_id for track_id, _, _ in seen} == {1}
    assert TrackState.REACQUIRED in [state for _, state, _ in seen]
    assert all(overlap > 0.5 for _, state, overlap in seen if state is not TrackState.LOST)
    assert seen[-1][1] is TrackState.TRACKING


def test_without_the_search_it_is_not() -> None:
    _, seen = hide_and_return(windows=0, to=75)
    assert {state for _, state, _ in seen} == {TrackState.LOST}


def test_more_windows_find_it_sooner() -> None:
    def frames(windows: int) -> int:
        states = [state for _, state, _ in hide_and_return(windows, to=75)[1]]
        return states.index(TrackState.REACQUIRED)

    assert frames(8) < frames(1)


def test_looking_elsewhere_changes_nothing_of_the_tracker() -> None:
    one, two = kcf(), kcf()
    for tracker in (one, two):
        tracker.init(SCENE.image(0), SCENE.box(0))
    for index in range(1, 20):
        elsewhere = one.look(SCENE.image(index), (30.0, 290.0))
        assert 0 <= elsewhere.confidence < 0.5
        mine, other = one.update(SCENE.image(index)), two.update(SCENE.image(index))
        assert (mine.box, mine.score, mine.psr) == (other.box, other.score, other.psr)


def test_a_lost_target_costs_a_bounded_number_of_looks_a_frame() -> None:
    looks = []

    class Counting(TemplateTracker):
        centre, reacquired_above = (0.0, 0.0), 0.5

        def look(self, image: Frame, centre: tuple[float, float]) -> Any:
            looks.append(centre)
            return type("S", (), {"centre": centre, "confidence": 0.0})()

    story = Story(settings(most=2, search__windows=3), SCENE.box(0), Counting)
    story.see(SCENE.image(0))
    story.targets.select(Box(20, 30, 40, 50))
    story.see(SCENE.image(0), times=2)
    assert looks == []
    grey = np.full_like(WALL, 99)
    story.see(grey, times=2)
    before = len(looks)
    story.see(grey, times=20)
    assert len(looks) - before == 20 * 3  # two lost targets take turns
    assert len(set(looks)) > 48


# Movement


def test_the_largest_thing_that_moves_becomes_the_target() -> None:
    story = Story(settings(start="motion"))
    index = 0
    for index in range(60):
        tracked = story.see(SCENE.image(index))
        if tracked:
            break
    assert 30 <= index < 45
    assert iou(tracked[0].result.box, SCENE.box(index)) > 0.4


def test_nothing_starts_while_nothing_or_everything_moves() -> None:
    story = Story(settings(start="motion"))
    assert story.see(WALL, times=60) == []
    noise = np.random.default_rng(1)
    for _ in range(20):
        assert story.see(noise.integers(0, 256, WALL.shape, dtype=np.uint8)) == []


def test_what_appears_and_stands_still_is_no_target() -> None:
    story = Story(settings(start="motion"))
    before, after = SCENE.image(0), SCENE.image(40)  # as if the target had been carried to another place
    assert story.see(before, times=50) == []
    assert story.see(after, times=60) == []


def test_after_a_target_is_given_up_movement_starts_the_next_one() -> None:
    story = Story(settings(start="motion", max_lost_s=0.5))
    for index in range(50):
        story.see(SCENE.image(index))
    assert story.targets.last_id == 1
    # The template tracker loses it in another scene; that scene's own target moves.
    other = FakeSource(FakeScript(frames=10_000, seed=5))
    for index in range(90):
        tracked = story.see(other.image(index))
    assert [t.track_id for t in tracked] == [2]
    assert iou(tracked[0].result.box, other.box(89)) > 0.3


def test_a_command_in_the_middle_of_a_frame_waits_for_the_next_one_and_does_not_wait_itself() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(TemplateTracker):
        def update(self, image: Frame) -> TrackResult:
            entered.set()
            assert go_on.wait(60)
            return super().update(image)

    story = Story(settings(), SCENE.box(0), Slow)
    story.see(SCENE.image(0))
    thread = threading.Thread(target=story.see, args=(SCENE.image(1),))
    thread.start()
    assert entered.wait(60)
    story.targets.select(Box(20, 30, 40, 50))  # returns while the frame is being worked on
    assert thread.is_alive()
    go_on.set()
    thread.join()
    assert [t.track_id for t in story.see(SCENE.image(0))] == [2]
