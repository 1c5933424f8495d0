"""`LiveSource` with a scripted camera: every way to fail, and how long until frames come again."""

from __future__ import annotations

import gc
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from edge_runtime.config import SourceConfig
from edge_runtime.errors import CameraError, DependencyError, SourceError
from edge_runtime.sources.camera import Capture
from edge_runtime.sources.live import MOST_STUCK, LiveSource
from tests.edge.scripted_camera import Scripted, ScriptedCamera, good, only, picture, stuck, then

QUICK = {"capture_timeout_s": 0.3, "reopen_wait_s": 0.02, "reopen_most_s": 0.05, "open_timeout_s": 1.0}


def live(make: Scripted, **settings: Any) -> LiveSource:
    return LiveSource(make, "test camera", SourceConfig(**{**QUICK, **settings}))


def longest_gap_s(source: LiveSource, until: Callable[[], bool]) -> float:
    """Between two frames, up to the tenth frame after `until` has come true."""
    gap_s, last_s, left = 0.0, time.monotonic(), 10
    for _ in source:
        now_s = time.monotonic()
        gap_s, last_s = max(gap_s, now_s - last_s), now_s
        left -= until()
        if not left:
            break
    return gap_s


LOST = SourceError("was disconnected", where="test camera")


def test_a_camera_that_fails_is_opened_again() -> None:
    make = Scripted([then(5, LOST), then(5, RuntimeError("driver")), good])
    with live(make) as source:
        assert source.frame_rate_hz == 100
        gap_s = longest_gap_s(source, lambda: len(make.cameras) == 3)
        assert (source.restarts, source.condition) == (2, "running")
    assert gap_s < 1  # reopen_wait_s is 0.02
    assert all(camera.closed for camera in make.cameras)


def test_the_error_of_a_camera_holds_no_frame() -> None:
    """It is kept, with the places that it came through, and their variables would be kept with it."""
    frames: list[weakref.ref[Any]] = []

    def script(camera: ScriptedCamera) -> Iterator[Capture]:
        for _ in range(5):
            image = picture()
            frames.append(weakref.ref(image))
            yield Capture(image)
            del image
        raise SourceError("was disconnected", where="test camera")

    make = Scripted([script, good])
    gc.disable()
    try:
        with live(make) as source:
            longest_gap_s(source, lambda: len(make.cameras) == 2)
            assert [frame() is None for frame in frames[1:]] == [True] * 4  # the script holds the first
    finally:
        gc.enable()


def test_a_camera_that_falls_silent_is_closed_and_opened_again() -> None:
    make = Scripted([stuck(5), good])
    with live(make) as source:
        gap_s = longest_gap_s(source, lambda: len(make.cameras) == 2)
        assert source.restarts == 1
        assert not make.cameras[0].closed  # its thread is in the driver
    # capture_timeout_s, then half a second for the camera to let go.
    assert 0.3 < gap_s < 8
    make.cameras[0].let_go.set()
    assert wait_until(lambda: make.cameras[0].closed)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return condition()


def test_frames_of_a_camera_that_was_given_up_do_not_come_through() -> None:
    make = Scripted([stuck(5), only(Capture(picture() + np.uint8(1)), after=0)])
    with live(make) as source:
        for frame in source:
            if frame.image[0, 0, 0] == 100:
                break
        make.cameras[0].let_go.set()
        assert wait_until(lambda: make.cameras[0].closed)
        assert {int(frame.image[0, 0, 0]) for frame in itertools.islice(source, 20)} == {100}


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        (Capture(None), "corrupt"),
        (Capture(np.zeros((48, 64), np.uint8)), "corrupt"),
        (Capture(picture(32)), "size"),
    ],
)
def test_unusable_frames_are_counted_and_when_nothing_else_comes_it_is_opened_again(
    capture: Capture, reason: str
) -> None:
    make = Scripted([only(capture), good])
    with live(make) as source:
        gap_s = longest_gap_s(source, lambda: len(make.cameras) == 2)
        assert source.dropped[reason] > 3
        assert source.restarts == 1
    assert 0.3 < gap_s < 5


def test_a_few_unusable_frames_are_left_out_and_their_numbers_with_them() -> None:
    def script(camera: ScriptedCamera) -> Iterator[Capture]:
        for number in itertools.count():
            yield Capture(None if number in {4, 5} else picture(32 if number == 7 else 64))

    make = Scripted([script])
    with live(make) as source:
        indexes = [frame.index for frame in itertools.islice(source, 20)]
        dropped = source.dropped
    assert not {4, 5, 7} & set(indexes)
    assert (dropped["corrupt"], dropped["size"], len(make.cameras)) == (2, 1, 1)


def test_a_size_that_stays_wrong_is_given_up() -> None:
    make = Scripted([then(5, LOST), only(Capture(picture(32)), after=0)])
    with live(make, give_up_after=2) as source, pytest.raises(SourceError, match="given up after 2 attempts"):
        list(source)
    assert len(make.cameras) == 3


def test_attempts_wait_longer_each_time_and_end(caplog: pytest.LogCaptureFixture) -> None:
    make = Scripted([then(5, LOST), then(0, SourceError("is not there", where="x", fix="plug it in"))])
    with live(make, give_up_after=4, reopen_wait_s=0.1, reopen_most_s=0.3) as source:
        iterator = iter(source)
        next(iterator)
        start_s = time.monotonic()
        with pytest.raises(SourceError) as caught:
            list(iterator)
    assert str(caught.value) == (
        "test camera: given up after 4 attempts to open it again; is not there; plug it in"
    )
    assert 0.8 < time.monotonic() - start_s < 8  # 0.1 + 0.2 + 0.3 + 0.3
    assert len(make.cameras) == 5
    assert all(camera.closed for camera in make.cameras)
    assert [m for m in caplog.messages if "is not there" in m] == [
        "x: is not there; plug it in; opening it again in 0.2 s"
    ]


def test_frames_in_between_start_the_count_of_attempts_anew() -> None:
    make = Scripted([then(3, LOST)] * 6 + [good])
    with live(make, give_up_after=1) as source:
        longest_gap_s(source, lambda: len(make.cameras) == 7)
        assert source.restarts == 6


def test_threads_that_never_come_back_end_it() -> None:
    make = Scripted([stuck(2)])
    with live(make, capture_timeout_s=0.1) as source, pytest.raises(SourceError, match="given up"):
        list(source)
    assert len(make.cameras) == MOST_STUCK + 1
    for camera in make.cameras:
        camera.let_go.set()
    assert wait_until(lambda: all(camera.closed for camera in make.cameras))


@pytest.mark.parametrize("error", [SourceError("is busy", fix="stop it"), DependencyError("no library")])
def test_the_first_opening_of_a_device_fails_at_once(error: Exception) -> None:
    make = Scripted([then(0, error)])
    with pytest.raises(type(error), match=str(error)):
        live(make, reopen_wait_s=30, reopen_most_s=30)
    assert [camera.closed for camera in make.cameras] == [True]


def test_a_first_opening_that_hangs_is_given_up() -> None:
    make = Scripted([stuck(0)])
    start_s = time.monotonic()
    with pytest.raises(SourceError, match=r"test camera: did not open within 0.2 s; check cable and power"):
        live(make, open_timeout_s=0.2)
    assert time.monotonic() - start_s < 10
    make.cameras[0].let_go.set()


def test_a_server_may_come_up_later() -> None:
    make = Scripted([then(0, LOST), then(0, LOST), good], reopening="always")
    with live(make) as source:
        assert next(iter(source)).index == 0
        assert source.restarts == 0
    with pytest.raises(SourceError, match="given up after 3 attempts"):
        live(Scripted([then(0, LOST)], reopening="always"), give_up_after=3)


def test_recordings_are_not_opened_again_and_end() -> None:
    make = Scripted([then(5, LOST)], reopening="never")
    with live(make) as source, pytest.raises(SourceError, match="was disconnected"):
        list(source)
    with live(Scripted([lambda camera: good(camera, 5)], reopening="never")) as source:
        assert [frame.index for frame in source][-1] == 4
    with pytest.raises(SourceError, match="gave no frame"):
        live(Scripted([lambda camera: iter(())], reopening="never"))


@pytest.mark.parametrize("script", [stuck(3), then(3, LOST)], ids=["stalled", "in a back-off"])
def test_stop_works_while_nothing_comes(script: Any) -> None:
    make = Scripted([script, then(0, LOST)])
    with live(make, capture_timeout_s=60, reopen_wait_s=60, reopen_most_s=60) as source:
        iterator = iter(source)
        while source.condition == "running" and make.cameras[0].closed is False:
            next(iterator)
            if source._captured >= 3:
                break
        threading.Timer(0.3, source.stop).start()
        start_s = time.monotonic()
        list(iterator)
        assert time.monotonic() - start_s < 3
    make.cameras[0].let_go.set()


def test_waiting_for_the_first_frame_can_be_stopped() -> None:
    make = Scripted([stuck(0)])
    start_s = time.monotonic()
    config = SourceConfig(open_timeout_s=60)
    with pytest.raises(SourceError, match="gave no frame before it was stopped"):
        LiveSource(make, "test camera", config, lambda: time.monotonic() - start_s > 0.2)
    assert time.monotonic() - start_s < 10
    make.cameras[0].let_go.set()


def test_the_condition_tells_what_goes_on() -> None:
    make = Scripted([stuck(3), stuck(0)])
    with live(make, capture_timeout_s=0.6, reopen_wait_s=60, reopen_most_s=60) as source:
        seen: list[str] = []

        def watch() -> None:
            while not seen or seen[-1] != "reopening":
                if not seen or seen[-1] != source.condition:
                    seen.append(source.condition)
                time.sleep(0.01)
            source.stop()

        watcher = threading.Thread(target=watch)
        watcher.start()
        list(source)
        watcher.join()
    assert seen == ["running", "stalled", "reopening"]
    for camera in make.cameras:
        camera.let_go.set()


def test_what_repeats_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with live(Scripted([only(Capture(None), after=1), then(0, LOST)]), capture_timeout_s=0.5) as source:
        with pytest.raises(SourceError):
            list(source)
        assert source.dropped["corrupt"] > 10
    assert len([m for m in caplog.messages if "cannot be decoded" in m]) == 1
    assert len([m for m in caplog.messages if "was disconnected" in m]) == 1


ABSENT = SourceError("is not there", where="x", fix="plug it in")


def test_a_patient_source_waits_for_a_camera_that_was_never_there() -> None:
    make = Scripted([then(0, ABSENT), then(0, ABSENT), good])
    with LiveSource(make, "test camera", SourceConfig(**QUICK), patient=True) as source:  # type: ignore[arg-type]
        assert next(iter(source)).index == 0
    assert len(make.cameras) == 3


@pytest.mark.parametrize(("patient", "openings"), [(False, 1), (True, 3)])
def test_a_camera_that_stays_away_has_the_error_that_systemd_tries_again_on(
    patient: bool, openings: int
) -> None:
    make = Scripted([then(0, ABSENT)])
    config = SourceConfig(**QUICK, give_up_after=2)  # type: ignore[arg-type] # of values of one type
    with pytest.raises(CameraError, match="is not there; plug it in"):
        LiveSource(make, "test camera", config, patient=patient)
    assert len(make.cameras) == openings


def test_what_waiting_does_not_mend_is_not_waited_for() -> None:
    make = Scripted([then(0, DependencyError("no picamera2", fix="install it"))])
    with pytest.raises(DependencyError, match="no picamera2"):
        LiveSource(make, "test camera", SourceConfig(**QUICK), patient=True)  # type: ignore[arg-type]
    assert len(make.cameras) == 1
