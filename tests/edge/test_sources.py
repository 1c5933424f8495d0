"""One contract over every frame source. What is particular to each is in `test_sources_*.py`."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import SourceError
from edge_runtime.sources import DROP_REASONS, FrameSource
from edge_runtime.sources.fake import TURN_FRAMES
from edge_runtime.types import Frame
from tests.edge.helpers import fake_images, opened, pictures, video
from tests.edge.mjpeg_server import MjpegServer
from tests.edge.standin_picamera2 import Sensor
from tests.edge.standin_v4l2 import Board

FRAMES = 12
IMAGES = fake_images(FRAMES)
RECORDED = ("folder", "video", "fake")
LIVE = ("realtime", "virtual", "v4l2", "network", "picamera2")
Opener = Callable[[], FrameSource]


@contextlib.contextmanager
def backend(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opener]:
    """What opens a source that shows `IMAGES`."""
    if name == "folder":
        uri = str(pictures(folder / "pictures", IMAGES))
        yield lambda: opened(uri)
    elif name == "video":
        uri = str(video(folder / "clip.avi", IMAGES))
        yield lambda: opened(uri)
    elif name == "fake":
        yield lambda: opened(f"fake:frames={FRAMES}")
    elif name == "realtime":
        yield lambda: opened(f"fake:frames={FRAMES}", realtime=True, loop=True, rate_hz=100)
    elif name == "virtual":
        yield lambda: opened("fake:live=true&rate_hz=100")
    elif name == "v4l2":
        monkeypatch.setattr(cv2, "VideoCapture", Board(IMAGES).capture_class())
        yield lambda: opened("v4l2:/dev/null")
    elif name == "network":
        with MjpegServer(IMAGES) as server:
            yield lambda: opened(server.url)
    else:
        monkeypatch.setitem(sys.modules, "picamera2", Sensor(IMAGES).module())
        yield lambda: opened("picamera2:")


@pytest.fixture(params=RECORDED + LIVE)
def opener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    with backend(request.param, tmp_path, monkeypatch) as opener:
        yield opener


@pytest.fixture(params=LIVE)
def live_opener(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Opener]:
    with backend(request.param, tmp_path, monkeypatch) as opener:
        yield opener


def thumbnail(image: Frame) -> NDArray[np.int64]:
    """Some pixels, without the corner where a virtual camera writes its number."""
    return image[4::8, 4::8].astype(np.int64)


def test_frames_are_numbered_bgr_uint8_of_the_announced_size(opener: Opener) -> None:
    with opener() as source:
        frames = list(itertools.islice(source, FRAMES))
        assert source.frame_size == (320, 240)
    indexes = [frame.index for frame in frames]
    assert indexes == sorted(set(indexes))
    if not source.live:
        assert indexes == list(range(FRAMES))
        assert source.frame_count == FRAMES
    known = np.stack([thumbnail(image) for image in fake_images(TURN_FRAMES)])
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (240, 320, 3)
        assert frame.image.flags.c_contiguous
        # Compression changes values a little; swapped channels or shifted rows would differ by tens.
        assert np.abs(known - thumbnail(frame.image)).mean(axis=(1, 2, 3)).min() < 5


def test_frames_stay_valid_after_the_next_one(opener: Opener) -> None:
    with opener() as source:
        iterator = iter(source)
        first = next(iterator).image
        before = first.copy()
        for _ in itertools.islice(iterator, FRAMES - 1):
            pass
    np.testing.assert_array_equal(first, before)


def test_capture_times_rise_and_only_live_sources_know_the_wall_clock(opener: Opener) -> None:
    started_ns, started_s = time.monotonic_ns(), time.time()
    with opener() as source:
        frames = list(itertools.islice(source, FRAMES))
    ended_ns, ended_s = time.monotonic_ns(), time.time()
    times_ns = [frame.t_monotonic_ns for frame in frames]
    assert started_ns <= times_ns[0]
    assert times_ns[-1] <= ended_ns
    assert all(before < after for before, after in itertools.pairwise(times_ns))
    if source.live or source.uri.startswith("fake:"):
        assert all(frame.t_unix and started_s - 1 < frame.t_unix < ended_s + 1 for frame in frames)
    else:
        assert {frame.t_unix for frame in frames} == {None}


def test_what_was_dropped_is_counted_under_known_names(opener: Opener) -> None:
    with opener() as source:
        frames = list(itertools.islice(source, FRAMES))
        dropped = source.dropped
        assert set(dropped) == set(DROP_REASONS)
        # A frame may have come between the last one and the count.
        assert sum(dropped.values()) >= frames[-1].index + 1 - len(frames)
        assert (source.restarts, source.clock_jumps, source.condition) == (0, 0, "running")


def test_closing_twice_is_harmless(opener: Opener) -> None:
    source = opener()
    source.close()
    source.close()


def test_stopping_ends_the_iteration(opener: Opener) -> None:
    with opener() as source:
        iterator = iter(source)
        next(iterator)
        source.stop()
        start_s = time.monotonic()
        assert list(iterator) == []
        assert time.monotonic() - start_s < 1  # a flag that is looked at every 0.1 s


def test_the_newest_frame_wins(live_opener: Opener) -> None:
    with live_opener() as source:
        assert source.live
        iterator = iter(source)
        first = next(iterator)
        time.sleep(0.5)
        second, third = next(iterator), next(iterator)
        assert second.index - first.index > 10  # of 25 to 50
        assert (time.monotonic_ns() - third.t_monotonic_ns) / 1e9 < 0.5
        assert source.dropped["overrun"] >= second.index - first.index - 1


def test_stopping_from_another_thread_ends_the_iteration(live_opener: Opener) -> None:
    with live_opener() as source:
        threading.Timer(0.2, source.stop).start()
        start_s = time.monotonic()
        count = sum(1 for _ in source)
        assert time.monotonic() - start_s < 2
    assert count > 0


def test_closing_gives_the_camera_back(live_opener: Opener) -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        with live_opener() as source:
            assert next(iter(source)).image.shape == (240, 320, 3)
    new = set(threading.enumerate()) - before
    assert not [thread for thread in new if thread.name == "cfvgg-camera"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "no source is given; set source.uri or --source"),
        ("none.mp4", "none.mp4: no such file or folder"),
        ("/dev/video98", "/dev/video98: is not there (No such file or directory); plug the camera in"),
        ("v4l2:/dev/video98", "/dev/video98: is not there"),
        ("v4l2:none", "none: is not there"),
        ("picamera2:front", "picamera2:front: names no camera; give picamera2: or picamera2:1"),
        ("rtsp://", "rtsp://: names no host"),
        ("http://user:secret@:80/x", "http://***@:80/x: names no host"),
        ("fake:live=true&frmes=3", "did you mean 'frames'?"),
    ],
)
def test_what_a_uri_may_be(uri: str, expected: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(uri)
    assert expected in str(caught.value)


@pytest.mark.parametrize("setting", ["loop", "realtime"])
def test_cameras_are_no_recordings(setting: str) -> None:
    with pytest.raises(SourceError, match=r"fake:live=true: is no recording; leave out source.loop"):
        opened("fake:live=true", **{setting: True})
