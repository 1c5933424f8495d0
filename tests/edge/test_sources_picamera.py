"""Pi cameras, with a stand-in for the module `picamera2`."""

from __future__ import annotations

import itertools
import logging
import sys
import threading
import time
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import DependencyError, SourceError
from edge_runtime.sources.picamera import PACKED, PLANAR, to_monotonic
from tests.edge.helpers import fake_images, opened
from tests.edge.standin_picamera2 import Sensor

IMAGES = fake_images(6)
QUICK: dict[str, Any] = {
    "capture_timeout_s": 0.3,
    "reopen_wait_s": 0.05,
    "reopen_most_s": 0.1,
    "give_up_after": 100,
}


@pytest.fixture
def sensor(monkeypatch: pytest.MonkeyPatch) -> Sensor:
    sensor = Sensor(IMAGES)
    monkeypatch.setitem(sys.modules, "picamera2", sensor.module())
    return sensor


def test_the_configuration_is_made_once_for_fresh_frames_and_the_whole_view(
    sensor: Sensor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with opened("picamera2:", rate_hz=50) as source:
        assert source.frame_rate_hz == 50
        list(itertools.islice(source, 20))
    (config,) = sensor.configured
    assert config["queue"] is False
    assert config["buffer_count"] == 4
    assert config["controls"] == {"FrameRate": 50}
    assert config["sensor"] == {"output_size": (1640, 1232)}
    assert config["lores"] is None
    assert caplog.messages == [
        "picamera2:0: 320x240 RGB888, main stream, asked for 640x480 at 50 Hz, sensor at 1640x1232"
    ]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (1640, 1232)),
        ({"rate_hz": 20}, (1640, 1232)),
        ({"rate_hz": 20, "width": 2000, "height": 1500}, (3280, 2464)),
        ({"rate_hz": 60, "width": 2000, "height": 1500}, (1640, 1232)),
        ({"rate_hz": 200}, (1640, 1232)),
        ({"sensor_size": (640, 480)}, (640, 480)),
    ],
)
def test_the_sensors_mode(sensor: Sensor, settings: dict[str, Any], expected: tuple[int, int]) -> None:
    opened("picamera2:", **settings).close()
    assert sensor.configured[0]["sensor"] == {"output_size": expected}


def test_a_camera_without_raw_modes_is_left_to_libcamera(sensor: Sensor) -> None:
    sensor.raw, sensor.formats = False, ("NV12",)
    with opened("picamera2:") as source:
        frame = next(iter(source))
        assert source.frame_rate_hz is None
    assert sensor.configured[0]["sensor"] is None
    assert sensor.configured[0]["controls"] == {}
    assert min(np.abs(frame.image.astype(int) - image).mean() for image in IMAGES) < 6


@pytest.mark.parametrize("stream", ["main", "lores"])
@pytest.mark.parametrize("name", ["RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "NV12"])
def test_every_format_comes_out_in_bgr_without_padding(sensor: Sensor, name: str, stream: str) -> None:
    sensor.formats = (name,)
    assert {name} <= {*PACKED, *PLANAR}
    with opened("picamera2:", stream=stream) as source:
        for frame in itertools.islice(source, 6):
            assert frame.image.shape == (240, 320, 3)
            assert frame.image.flags.c_contiguous
            # Half of the colour's resolution is lost in YUV.
            limit = 0.1 if name in PACKED else 6
            assert min(np.abs(frame.image.astype(int) - image).mean() for image in IMAGES) < limit


def test_formats_that_cannot_be_read(sensor: Sensor) -> None:
    sensor.formats = ("MJPEG",)
    with pytest.raises(SourceError, match="picamera2:0: gives MJPEG, which cannot be read"):
        opened("picamera2:")
    assert sensor.held is None


def test_every_request_is_given_back(sensor: Sensor) -> None:
    with opened("picamera2:") as source:
        # Far more than there are buffers: one that is kept would stop the camera.
        assert len(list(itertools.islice(source, 60))) == 60
        assert source.restarts == 0


def test_the_sensors_time_stamp_counts(sensor: Sensor) -> None:
    with opened("picamera2:") as source:
        for frame in itertools.islice(source, 10):
            assert 0 <= time.monotonic_ns() - frame.t_monotonic_ns < 2e9
        assert source.clock_jumps == 0


def test_either_clock_of_a_sensor_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    suspended_ns = 3600 * 10**9
    now_ns = time.monotonic_ns()
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: time.monotonic_ns() + suspended_ns)
    taken_ns = now_ns - 20_000_000
    assert to_monotonic(taken_ns) == taken_ns
    assert to_monotonic(taken_ns + suspended_ns) == pytest.approx(taken_ns, abs=1_000_000)


def test_a_camera_that_falls_silent_is_closed_and_opened_again(
    sensor: Sensor, caplog: pytest.LogCaptureFixture
) -> None:
    with opened("picamera2:", **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        sensor.silent = True
        threading.Timer(1.0, lambda: setattr(sensor, "silent", False)).start()
        start_s = time.monotonic()
        while source.restarts == 0:
            next(iterator)
        assert 0.9 < time.monotonic() - start_s < 10  # 1.4
    assert sensor.opened >= 2
    assert (sensor.held, sensor.left_jobs) == (None, 0)
    assert any("picamera2:0: gave no" in text for text in caplog.messages)


def test_a_busy_camera_is_an_error_at_once(sensor: Sensor) -> None:
    sensor.busy = True
    with pytest.raises(SourceError) as caught:
        opened("picamera2:")
    assert (
        "picamera2:0: cannot be opened (Camera __init__ sequence did not complete.: Failed to acquire"
        in str(caught.value)
    )
    assert "another program may have it" in str(caught.value)


def test_a_camera_that_is_not_there(sensor: Sensor) -> None:
    with pytest.raises(
        SourceError, match=r"picamera2:1: is not there \(cameras: 0: imx219\); check the cable"
    ):
        opened("picamera2:1")
    sensor.cameras = 0
    sys.modules["picamera2"] = sensor.module()
    with pytest.raises(SourceError, match=r"\(cameras: none\)"):
        opened("picamera2")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(DependencyError, match="apt install python3-picamera2"):
        opened("picamera2:")


def test_a_library_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    old = ModuleType("picamera2")
    old.Picamera2 = type("Picamera2", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", old)
    with pytest.raises(DependencyError, match="older than July 2024"):
        opened("picamera2:")
