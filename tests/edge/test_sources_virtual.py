"""The virtual camera: what it shows, its faults, and what each costs in time and frames."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import VirtualDevice
from edge_runtime.sources.base import CapturedFrame, FrameSource
from edge_runtime.sources.fake import FakeScript, FakeSource
from edge_runtime.sources.faults import KINDS, RANDOM_AMOUNTS, FaultScript
from edge_runtime.sources.virtual import VirtualScript, frame_number
from tests.edge.helpers import fake_images, opened, pictures, video

RATE_HZ = 100
QUICK: dict[str, Any] = {"capture_timeout_s": 0.5, "reopen_wait_s": 0.1, "reopen_most_s": 0.1}


def virtual(faults: str, frames: int = 0, **settings: Any) -> FrameSource:
    uri = f"fake:live=true&rate_hz={RATE_HZ}&frames={frames}&faults={faults}"
    return opened(uri, **(QUICK | settings))


def device(settings: str) -> VirtualDevice:
    def no_recording(uri: str) -> Any:
        raise AssertionError(uri)

    return VirtualDevice.from_uri(f"fake:live=true&{settings}", no_recording)


def numbers(frames: list[CapturedFrame]) -> list[int]:
    return [frame_number(frame.image) for frame in frames]


def test_it_runs_in_real_time_and_numbers_its_frames() -> None:
    with virtual("", frames=60) as source:
        assert (source.live, source.frame_rate_hz, source.frame_count) == (True, RATE_HZ, None)
        frames = list(source)
    seen = numbers(frames)
    assert seen == sorted(set(seen))
    assert seen[-1] == 59
    elapsed_s = (frames[-1].t_monotonic_ns - frames[0].t_monotonic_ns) / 1e9
    assert elapsed_s == pytest.approx((seen[-1] - seen[0]) / RATE_HZ, abs=1e-6)


def test_it_never_ends_by_default() -> None:
    assert VirtualScript().frames == 0
    with virtual("") as source:
        assert len(list(itertools.islice(source, 80))) == 80


def test_the_truth_is_where_the_picture_shows_the_target() -> None:
    camera = device("faults=hidden@40:20,hidden@100:10")
    plain = FakeSource(FakeScript())
    x, y, w, h = (int(v) for v in plain.box(0))
    target = plain.image(0)[y : y + h, x : x + w]
    for index in range(130):
        box = camera.truth(index)
        if 40 <= index < 60 or 100 <= index < 110:
            assert box is None
        else:
            assert box is not None
            x, y, w, h = (int(v) for v in box)
            np.testing.assert_array_equal(camera.image(index)[y : y + h, x : x + w], target)
        assert frame_number(camera.image(index)) == index
    assert camera.truth(39) == plain.box(39)


def test_a_hidden_target_comes_back_elsewhere_and_moves_on_smoothly() -> None:
    camera = device("faults=hidden@40:20,hidden@100:10")
    for gone, back in ((39, 60), (99, 110)):
        before, after, later = (camera.truth(index) for index in (gone, back, back + 1))
        assert before and after and later
        assert math.dist(before[:2], after[:2]) > 100
        assert math.dist(after[:2], later[:2]) < 20


def test_dark_frames_are_dark() -> None:
    camera = device("faults=dark@10:5")
    means = [camera.image(index)[4:].mean() for index in range(8, 17)]
    assert all(mean > 60 for mean in means[:2] + means[7:])
    assert all(mean < 8 for mean in means[2:7])


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_it_films_recordings(tmp_path: Path, kind: str) -> None:
    images = [image[:100, :120].copy() for image in fake_images(4)]
    path = video(tmp_path / "v.avi", images) if kind == "video" else pictures(tmp_path / "p", images)
    with opened(f"fake:live=true&rate_hz=100&show={path}&faults=corrupt@20:2", **QUICK) as source:
        assert source.frame_size == (120, 100)
        frames = list(itertools.islice(source, 30))
        assert source.dropped["corrupt"] == 2
    for frame in frames:
        assert min(np.abs(frame.image[4:].astype(int) - image[4:]).mean() for image in images) < 5
    with pytest.raises(SourceError, match="unknown fault 'hidden'"):
        opened(f"fake:live=true&show={path}&faults=hidden@10:5")
    with pytest.raises(SourceError, match=r"none: no such file or folder"):
        opened("fake:live=true&show=none")


# What each fault costs. Limits are of a busy machine; what it takes on an idle one is beside them.


def run_through(faults: str, until: int, **settings: Any) -> tuple[FrameSource, list[CapturedFrame]]:
    frames = []
    with virtual(faults, **settings) as source:
        for frame in source:
            frames.append(frame)
            if frame_number(frame.image) >= until:
                break
        return source, frames


def gap_s(frames: list[CapturedFrame]) -> float:
    """The longest time between two frames."""
    return max(b.t_monotonic_ns - a.t_monotonic_ns for a, b in itertools.pairwise(frames)) / 1e9


def test_a_short_stall_costs_itself() -> None:
    source, frames = run_through("stall@50:0.2", 120)
    assert source.restarts == 0
    assert 0.2 <= gap_s(frames) < 2  # 0.21


def test_a_stall_is_cured_by_opening_again() -> None:
    source, frames = run_through("stall@50:3600", 60)
    assert source.restarts == 1
    # capture_timeout_s 0.5, half a second for the thread to come back, reopen_wait_s 0.1.
    assert 0.5 < gap_s(frames) < 8  # 1.1


def test_lost_frames_are_lost_and_nothing_else() -> None:
    source, frames = run_through("drop@50:10", 120)
    seen = numbers(frames)
    assert not set(range(50, 60)) & set(seen)
    assert (source.restarts, source.dropped["corrupt"], source.dropped["size"]) == (0, 0, 0)
    assert frames[-1].index + 1 <= seen[-1] + 1 - 10
    assert gap_s(frames) >= 0.11


@pytest.mark.parametrize(("kind", "reason"), [("corrupt", "corrupt"), ("size", "size")])
def test_unusable_frames_cost_themselves(kind: str, reason: str) -> None:
    source, frames = run_through(f"{kind}@50:5", 120)
    assert not set(range(50, 55)) & set(numbers(frames))
    assert (source.dropped[reason], source.restarts) == (5, 0)


def test_unusable_frames_without_end_are_cured_by_opening_again_if_that_helps() -> None:
    source, frames = run_through("size@50:70", 130)
    assert source.restarts == 1
    assert 10 < source.dropped["size"] <= 70
    assert gap_s(frames) < 8  # 0.7


def test_a_disconnected_camera_is_there_again_soon_after_it_is_back() -> None:
    source, frames = run_through("disconnect@50:1", 160, give_up_after=100)
    assert source.restarts == 1
    assert not set(range(50, 150)) & set(numbers(frames))
    assert 1 <= gap_s(frames) < 1 + 2  # attempts come every 0.1 s: 1.1


def test_a_camera_that_stays_away_ends_the_run() -> None:
    start_s = time.monotonic()
    with virtual("disconnect@20:3600", give_up_after=3) as source:
        with pytest.raises(SourceError) as caught:
            list(source)
        assert source.restarts == 0
    assert "given up after 3 attempts to open it again; is not there" in str(caught.value)
    assert time.monotonic() - start_s < 6  # 0.6


@pytest.mark.parametrize("seconds", [-2, 5])
def test_a_wrong_time_stamp_costs_nothing(seconds: int) -> None:
    source, frames = run_through(f"time@50:{seconds}", 100)
    assert source.clock_jumps == 1
    times_ns = [frame.t_monotonic_ns for frame in frames]
    assert all(a < b for a, b in itertools.pairwise(times_ns))
    assert gap_s(frames) < 1  # 0.02
    assert all(abs(frame.t_unix - time.time()) < 20 for frame in frames if frame.t_unix)


def test_faults_follow_one_another() -> None:
    faults = "corrupt@20:2,stall@40:0.1,disconnect@80:0.2,size@140:3,time@160:-1,drop@180:5,dark@200:5"
    source, frames = run_through(faults, 240)
    assert (source.dropped["corrupt"], source.dropped["size"]) == (2, 3)
    assert (source.restarts, source.clock_jumps) == (1, 1)
    assert gap_s(frames) < 3


# The text


@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        ("stal@90:3", "unknown fault 'stal'; did you mean 'stall'?"),
        ("fire@90:3", "unknown fault 'fire'; use one of stall, disconnect"),
        ("stall", "'stall' is not a fault; write kind@frame:amount, as in stall@90:3"),
        ("stall@90", "'stall@90' is not a fault"),
        ("stall@x:3", "'stall@x:3' is not a fault"),
        ("stall@-1:3", "'stall@-1:3' is not a fault"),
        ("stall@90:1e9", "'stall@90:1e9' is not a fault"),
        ("stall@90:nan", "'stall@90:nan' is not a fault"),
        ("stall@90:3;drop@1:1", "'stall@90:3;drop@1:1' is not a fault"),
        ("stall@90:0", "stall of 0 is out of range; give seconds, more than 0"),
        ("drop@90:1.5", "drop of 1.5 is out of range; give whole frames, more than 0"),
        ("drop@90:-1", "drop of -1 is out of range"),
        ("random@10:1", "random@10:1 is out of range; write random@FRAMES:SEED with at least 300 frames"),
        ("random@900:-1", "random@900:-1 is out of range"),
    ],
)
def test_bad_faults(faults: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(f"fake:live=true&faults={faults}")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("fake:live=true&faults=")


@pytest.mark.parametrize("settings", ["rate_hz=0", "width=10", "frames=-1", "target_px=300", "rate_hz=fast"])
def test_bad_settings(settings: str) -> None:
    with pytest.raises(SourceError, match=settings.split("=", maxsplit=1)[0]):
        opened(f"fake:live=true&{settings}")


def test_random_faults_are_repeatable_and_of_every_kind() -> None:
    first, again, other = (FaultScript.parse(f"random@300:{seed}", "x") for seed in (1, 1, 2))
    found = [fault for kind in KINDS for fault in first.starting(kind, 0, 60_000)]
    assert len(found) == pytest.approx(200, abs=1)
    assert found == [fault for kind in KINDS for fault in again.starting(kind, 0, 60_000)]
    assert found != [fault for kind in KINDS for fault in other.starting(kind, 0, 60_000)]
    assert {fault.kind for fault in found} == set(KINDS)
    for fault in found:
        least, most = RANDOM_AMOUNTS[fault.kind]
        assert least <= fault.amount <= most
        for index in (fault.frame, fault.last(30)):
            assert first.at(index, 30)[fault.kind].kind == fault.kind
    assert sum(bool(first.at(index, 30)) for index in range(0, 60_000, 10)) > 100
