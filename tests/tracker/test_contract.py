"""What every preset promises, whatever the frames and the target: finite boxes, honest states, no memory.

The network is a small stand-in, so that no bundle is needed.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from edge_runtime.config import load_config
from edge_runtime.errors import BoxError, CfvggError, ConfigError, SourceError
from edge_runtime.manifest import LevelInfo
from edge_runtime.trackers import make_tracker
from edge_runtime.trackers.presets import PRESETS
from edge_runtime.types import Box, FloatArray, Frame, Tracker, TrackResult, TrackState
from tests.tracker.pixels import scene

ROWS, COLUMNS = 240, 320
TARGET = Box.from_centre(120, 160, 48, 48)
DEEP = (("middle", 8), ("conv3", 16), ("high", 16))
STATES = list(TrackState)
UNSURE = (TrackState.UNCERTAIN, TrackState.LOST)


class BlockFeatures:
    """Per cell and colour: the average; at depth also the steps, down and across, from half to half, and
    their sizes. Less the patch's average, as features that tell target and background apart.
    """

    levels = (LevelInfo("low", 2, 3, 0.5), *(LevelInfo(n, s, 15, (s - 1) / 2) for n, s in DEEP))

    def level(self, name: str) -> LevelInfo:
        for level in self.levels:
            if level.name == name:
                return level
        raise ConfigError(f"no level {name!r}")

    def cells(self, name: str, size_px: int) -> int:
        return size_px // self.level(name).stride

    def extract(self, patches: Frame, levels: tuple[str, ...]) -> tuple[FloatArray, ...]:
        assert patches.dtype == np.uint8
        assert patches.shape[3] == 3
        return tuple(self.maps(patches, self.level(name)) for name in levels)

    def maps(self, patches: Frame, level: LevelInfo) -> FloatArray:
        down, across = (n // level.stride for n in patches.shape[1:3])
        whole = patches[:, : down * level.stride, : across * level.stride]
        halves = [cv2.resize(p, (2 * across, 2 * down), interpolation=cv2.INTER_AREA) for p in whole]
        cells = np.stack(halves).astype(np.float32).reshape(-1, down, 2, across, 2, 3) / 255
        maps = [cells.mean((2, 4))]
        if level.channels > 3:
            for kept, averaged in ((2, 4), (4, 2)):
                first, second = np.moveaxis(cells.mean(averaged, keepdims=True), kept, 0)
                maps.append(2 * (second - first).reshape(maps[0].shape))
            maps += [np.abs(step) for step in maps[1:]]
        found = np.concatenate(maps, -1)
        return found - found.mean((1, 2), keepdims=True)


def made(preset: str) -> Tracker:
    return make_tracker(load_config(None, {"tracker.preset": preset}), BlockFeatures())


@functools.cache
def frame_at(row: float, column: float, size: int = 48) -> Frame:
    """The scene with its target there. Who writes into it is caught."""
    frame = scene(row, column, size=size)
    frame.flags.writeable = False
    return frame


EMPTY = frame_at(-500, -500)
BLACK = np.zeros_like(EMPTY)
WALK = [frame_at(120 + 2 * k, 160 - 3 * k) for k in range(7)]


def grey(frame: Frame) -> Frame:
    return frame[..., 1:2].repeat(3, 2)


def follow(tracker: Tracker, frames: list[Frame], box: Box = TARGET) -> list[TrackResult]:
    """Start in the first frame, track through the others."""
    tracker.init(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


def outcome(results: list[TrackResult]) -> list[tuple[Any, ...]]:
    """Everything but the time it took."""
    return [(result.box, result.score, result.psr, result.state) for result in results]


def check(result: TrackResult) -> None:
    assert isinstance(result.box, Box)
    assert np.isfinite(result.box).all()
    assert 1 <= result.box.w <= 2 * COLUMNS
    assert 1 <= result.box.h <= 2 * ROWS
    row, column = result.box.centre
    assert -1e-6 <= row <= ROWS - 1 + 1e-6
    assert -1e-6 <= column <= COLUMNS - 1 + 1e-6
    assert 0 <= result.score <= 1
    assert np.isfinite(result.psr)
    assert result.state in (*UNSURE, TrackState.TRACKING, TrackState.REACQUIRED)
    assert result.latency_ms > 0


def error_px(result: TrackResult, row: float, column: float) -> float:
    return float(np.hypot(*np.subtract(result.box.centre, (row, column))))


@pytest.fixture(params=PRESETS, scope="module")
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def walk(preset: str) -> list[TrackResult]:
    """A fresh tracker along `WALK`."""
    return follow(made(preset), WALK)


# Tracking


def test_a_moving_target_is_followed(walk: list[TrackResult]) -> None:
    for k, result in enumerate(walk, 1):
        check(result)
        assert error_px(result, 120 + 2 * k, 160 - 3 * k) < 5
        assert result.state is TrackState.TRACKING
        assert result.score > 0.5


def test_a_grey_sequence_is_followed(preset: str) -> None:
    for k, result in enumerate(follow(made(preset), [grey(frame) for frame in WALK]), 1):
        check(result)
        assert error_px(result, 120 + 2 * k, 160 - 3 * k) < 5
        assert result.state is TrackState.TRACKING


def test_two_trackers_answer_alike(preset: str, walk: list[TrackResult]) -> None:
    assert outcome(follow(made(preset), WALK)) == outcome(walk)


def test_how_a_frame_lies_in_memory_makes_no_difference(preset: str, walk: list[TrackResult]) -> None:
    """Mirrored views, channels in reverse, a cut-out of a larger array, columns first."""
    around = np.pad(WALK, ((0, 0), (3, 5), (7, 2), (0, 0)))
    views = [
        np.ascontiguousarray(WALK[0][:, ::-1])[:, ::-1],
        np.ascontiguousarray(WALK[1][::-1])[::-1],
        np.ascontiguousarray(WALK[2][..., ::-1])[..., ::-1],
        around[3, 3:-5, 7:-2],
        np.asfortranarray(WALK[4]),
        around[5, 3:-5, 7:-2],
        np.ascontiguousarray(WALK[6][::-1, ::-1])[::-1, ::-1],
    ]
    assert not any(view.flags.c_contiguous for view in views)
    assert outcome(follow(made(preset), views)) == outcome(walk)


def test_starting_again_on_another_target_is_like_starting_afresh(
    preset: str, walk: list[TrackResult]
) -> None:
    tracker = made(preset)
    follow(tracker, [frame_at(100, 90, size=60), BLACK, frame_at(100, 90, size=60)], Box(60, 80, 75, 31))
    assert outcome(follow(tracker, WALK)) == outcome(walk)


def test_starting_again_on_a_grey_smaller_frame_is_like_starting_afresh(
    preset: str, walk: list[TrackResult]
) -> None:
    tracker = made(preset)
    follow(tracker, [grey(frame)[:200, :300] for frame in WALK[:2]])
    assert outcome(follow(tracker, WALK)) == outcome(walk)


def test_frames_are_not_written_to(preset: str) -> None:
    frames = [np.array(frame) for frame in (*WALK[:3], grey(WALK[3]))]
    kept = [frame.copy() for frame in frames]
    follow(made(preset), frames)
    follow(made(preset), [grey(frame) for frame in frames[:2]])
    for frame, before in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(frame, before)


# What is refused


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((float("nan"), 10, 20, 20), "is not finite"),
        ((10, 10, float("inf"), 20), "is not finite"),
        ((10, 10, 0, 20), "is empty"),
        ((10, 10, 20, -5), "is empty"),
        ((320, 10, 20, 20), "lies outside the 320x240 frame"),
        ((10, -60, 20, 60), "lies outside the 320x240 frame"),
        ((1, 2, 3), "is not a box"),
    ],
)
def test_an_unusable_box_is_refused_in_one_line(preset: str, box: tuple[float, ...], message: str) -> None:
    tracker = made(preset)
    with pytest.raises(BoxError, match=message) as caught:
        tracker.init(WALK[0], box)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"update\(\) before init\(\)"):
        tracker.update(WALK[0])


def test_refusals_leave_a_running_tracker_as_it_was(preset: str, walk: list[TrackResult]) -> None:
    tracker = made(preset)
    tracker.init(WALK[0], TARGET)
    results = []
    for frame in WALK[1:]:
        refused: list[tuple[type[CfvggError], str, Any]] = [
            (BoxError, "is empty", lambda: tracker.init(WALK[0], Box(5, 5, 0, 0))),
            (SourceError, "320x240 to 310x240", lambda: tracker.update(WALK[0][:, 10:])),
        ]
        for error, message, call in refused:
            with pytest.raises(error, match=message) as caught:
                call()
            assert "\n" not in str(caught.value)
        results.append(tracker.update(frame))
    assert outcome(results) == outcome(walk)


# Odd targets


ODD = {
    "8px": Box(156, 116, 8, 8),
    "2px": Box(150, 110, 2, 2),
    "frame": Box(0, 0, COLUMNS, ROWS),
    "left": Box(-20, 90, 50, 50),
    "right": Box(290, 90, 50, 40),
    "top": Box(100, -30, 50, 50),
    "bottom": Box(100, 210, 60, 50),
    "corner": Box(-40, -35, 50, 40),
    "1px-high": Box(120, 100, 60, 1),
    "1px-wide": Box(120, 20, 1, 200),
}


@pytest.mark.parametrize("target", ODD)
def test_odd_targets_give_finite_boxes_inside_reason(preset: str, target: str) -> None:
    box = ODD[target]
    frames = [WALK[0], WALK[1], BLACK, np.full_like(BLACK, 255), EMPTY, WALK[0]]
    for result in follow(made(preset), frames, box):
        check(result)
        assert result.box.w <= max(box.w, 4) * 1.5
        assert result.box.h <= max(box.h, 4) * 1.5


@pytest.mark.parametrize("target", ["8px", "frame", "corner", "1px-high"])
def test_odd_targets_in_grey_do_too(preset: str, target: str) -> None:
    for result in follow(made(preset), [grey(frame) for frame in (*WALK[:2], BLACK, EMPTY)], ODD[target]):
        check(result)


def test_a_target_of_8_px_is_followed(preset: str) -> None:
    frames = [frame_at(120 + k, 160 - k, size=8) for k in range(7)]
    for k, result in enumerate(follow(made(preset), frames, Box.from_centre(120, 160, 8, 8)), 1):
        check(result)
        assert error_px(result, 120 + k, 160 - k) < 4


@pytest.mark.parametrize("value", [0, 127, 255])
def test_a_frame_without_texture_is_no_trouble(preset: str, value: int) -> None:
    flat = np.full_like(BLACK, value)
    for result in follow(made(preset), [flat] * 4):
        check(result)
    # Nor is what comes after it.
    for result in follow(made(preset), [flat, WALK[0], WALK[1], flat]):
        check(result)


# Long runs


def test_black_frames_are_no_target(preset: str) -> None:
    tracker = made(preset)
    follow(tracker, WALK)
    for result in [tracker.update(BLACK) for _ in range(15)]:
        check(result)
        assert result.state in UNSURE
        assert result.score < 0.15
    assert result.state is TrackState.LOST
    for frame in (WALK[-1], EMPTY):
        check(tracker.update(frame))


def test_a_target_that_stood_still_is_found_after_black_frames(preset: str) -> None:
    tracker = made(preset)
    follow(tracker, [*WALK, WALK[-1]])
    for _ in range(8):
        tracker.update(BLACK)
    back = [tracker.update(WALK[-1]) for _ in range(8)]
    assert error_px(back[-1], 132, 142) < 5
    assert back[-1].state is TrackState.TRACKING


def test_a_target_may_stand_still_before_it_moves(preset: str) -> None:
    """A scene that stands still answers more surely than any that moves."""
    moves = [frame_at(120, 160 - 8 * k) for k in range(7)]
    for k, result in enumerate(follow(made(preset), [moves[0]] * 20 + moves)[19:]):
        assert error_px(result, 120, 160 - 8 * k) < 5
        assert result.state is TrackState.TRACKING


class LongRun(NamedTuple):
    """300 frames and more: the target moves about, leaves, and is gone for 100 frames.

    `centres` (frames, 2), `scores`, `states` (indices of STATES); `sizes` are `footprint`s after some
    frames, `objects` those that the garbage collector knows.
    """

    centres: np.ndarray
    scores: np.ndarray
    states: np.ndarray
    sizes: dict[int, tuple[int, int]]
    objects: dict[int, int]


ABOUT, LEAVES, GONE = 180, 50, 100
PLACES = [(120 + 8 * np.sin(k * np.pi / 18), 160 + 20 * np.sin(k * np.pi / 9)) for k in range(ABOUT)]
PLACES += [(120.0, 160.0 - 4 * k) for k in range(1, LEAVES + 1)]


@pytest.fixture(scope="module")
def long_run(preset: str) -> LongRun:
    tracker = made(preset)
    count = ABOUT + LEAVES + GONE
    run = LongRun(np.zeros((count, 2)), np.zeros(count), np.zeros(count, int), {}, {})
    tracker.init(frame_at(*PLACES[0]), Box.from_centre(*PLACES[0], 48, 48))
    for k in range(1, count):
        result = tracker.update(frame_at(*np.round(PLACES[k], 6).tolist()) if k < len(PLACES) else EMPTY)
        check(result)
        run.centres[k], run.scores[k] = result.box.centre, result.score
        run.states[k] = STATES.index(result.state)
        if k in (ABOUT // 2, ABOUT - 1, count - 1):
            run.sizes[k] = footprint(tracker)
            gc.collect()
            run.objects[k] = len(gc.get_objects())
    return run


def footprint(tracker: Tracker) -> tuple[int, int]:
    """Arrays and containers that a tracker holds on to, and the bytes of the arrays."""
    seen: dict[int, Any] = {}
    nbytes = 0
    left: list[Any] = [tracker]
    while left:
        thing = left.pop()
        if isinstance(thing, np.ndarray):
            while isinstance(thing.base, np.ndarray):
                thing = thing.base
        if id(thing) in seen or not (isinstance(thing, np.ndarray | dict | list | tuple) or held(thing)):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, np.ndarray):
            nbytes += thing.nbytes
        left.extend(held(thing))
    return len(seen), nbytes


def held(thing: Any) -> Iterator[Any] | list[Any]:
    if isinstance(thing, dict):
        return list(thing.values())
    if isinstance(thing, list | tuple):
        return list(thing)
    return list(vars(thing).values()) if hasattr(thing, "__dict__") and not isinstance(thing, type) else []


def test_a_target_is_followed_for_long(long_run: LongRun) -> None:
    errors = np.hypot(*(long_run.centres[:ABOUT] - PLACES[:ABOUT]).T)[1:]
    assert errors.max() < 8
    assert np.mean(errors) < 4
    assert (long_run.states[1:ABOUT] == STATES.index(TrackState.TRACKING)).all()


def test_a_target_that_left_is_said_to_be_lost(long_run: LongRun) -> None:
    unsure = np.isin(long_run.states, [STATES.index(state) for state in UNSURE])
    assert unsure[-50:].sum() >= 40
    assert long_run.scores[-50:].mean() < 0.3 < long_run.scores[1:ABOUT].mean()


def test_memory_does_not_grow(long_run: LongRun) -> None:
    assert len(set(long_run.sizes.values())) == 1
    (half, full, _) = long_run.objects.values()
    assert full - half < 50
