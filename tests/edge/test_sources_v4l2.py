"""USB cameras, with a stand-in for OpenCV's capture; and what the real OpenCV says of a file that is none."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_runtime.errors import SourceError
from edge_runtime.sources import v4l2
from tests.edge.helpers import fake_images, opened
from tests.edge.standin_v4l2 import Board

IMAGES = fake_images(6)
QUICK = {"capture_timeout_s": 0.3, "reopen_wait_s": 0.05, "reopen_most_s": 0.1}


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    board = Board(IMAGES)
    monkeypatch.setattr(cv2, "VideoCapture", board.capture_class())
    return board


def test_size_rate_and_format_are_asked_for_and_what_is_given_is_logged(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with opened("v4l2:/dev/null", width=800, height=600, rate_hz=60) as source:
        assert source.frame_rate_hz == 100
        assert source.frame_size == (320, 240)
    assert board.asked[cv2.CAP_PROP_FRAME_WIDTH] == 800
    assert board.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 600
    assert board.asked[cv2.CAP_PROP_FPS] == 60
    assert caplog.messages == ["/dev/null: 320x240 MJPG at 100 Hz, asked for 800x600 MJPG at 60 Hz"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "YUYV"),
        ({"width": 1280, "height": 720}, "MJPG"),
        ({"width": 1280, "height": 720, "rate_hz": 10}, "YUYV"),
        ({"pixel_format": "MJPG"}, "MJPG"),
    ],
)
def test_the_format_that_fits_through_usb(board: Board, settings: dict[str, int], expected: str) -> None:
    with opened("v4l2:/dev/null", **settings) as source:
        next(iter(source))
    assert board.asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*expected)
    assert board.asked[cv2.CAP_PROP_CONVERT_RGB] == 0


def test_a_device_file_alone_is_a_camera(board: Board, tmp_path: Path) -> None:
    link = tmp_path / "by-id"
    link.symlink_to("/dev/null")
    with opened(str(link)) as source:
        assert source.uri == str(link)
        assert next(iter(source)).image.shape == IMAGES[0].shape


@pytest.mark.parametrize("pixel_format", ["MJPG", "YUYV", "BGR3"])
def test_frames_are_decoded_and_those_cut_off_are_dropped(board: Board, pixel_format: str) -> None:
    board.formats, board.cut_off = (pixel_format,), {5, 6, 9}
    with opened("v4l2:/dev/null", pixel_format="MJPG" if pixel_format == "MJPG" else "YUYV") as source:
        for frame in itertools.islice(source, 20):
            assert min(np.abs(frame.image.astype(int) - image).mean() for image in IMAGES) < 4
        assert source.dropped["corrupt"] == 3
        assert source.restarts == 0


def test_a_camera_without_the_format_asked_for(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    """OpenCV takes another then, BGR3 before all others."""
    caplog.set_level(logging.INFO)
    board.formats = ("BGR3", "YUYV")
    with opened("v4l2:/dev/null", width=1280, height=720) as source:
        image = next(iter(source)).image
    assert min(np.abs(image.astype(int) - picture).mean() for picture in IMAGES) == 0
    assert "320x240 BGR3 at 100 Hz, asked for 1280x720 MJPG" in caplog.text


def test_rows_that_the_driver_fills_up(board: Board) -> None:
    board.filled_up = 64
    with opened("v4l2:/dev/null") as source:
        image = next(iter(source)).image
    assert min(np.abs(image.astype(int) - picture).mean() for picture in IMAGES) < 4


def test_what_is_no_jpeg_is_dropped() -> None:
    whole = cv2.imencode(".jpg", IMAGES[0])[1].reshape(1, -1)
    size = (320, 240)
    assert v4l2.decoded(whole, "MJPG", size) is not None
    for data in (whole[:, :-2], whole[:, 10:], np.zeros((1, 100), np.uint8), np.zeros((1, 0), np.uint8)):
        assert v4l2.decoded(data, "MJPG", size) is None
        assert v4l2.decoded(data, "YUYV", size) is None
    assert v4l2.decoded(IMAGES[0], "UYVY", size) is IMAGES[0]


def test_the_drivers_time_stamp_is_taken_if_it_is_plausible(board: Board) -> None:
    with opened("v4l2:/dev/null") as source:
        ages_s = [
            (time.monotonic_ns() - frame.t_monotonic_ns) / 1e9 for frame in itertools.islice(source, 10)
        ]
        assert min(ages_s) >= 0
        assert source.clock_jumps == 0
    board.offset_ms = -3000.0  # we stood still, and the driver's queue did not
    with opened("v4l2:/dev/null") as source:
        frame = next(iter(source))
        assert time.monotonic_ns() - frame.t_monotonic_ns > 3e9
        assert source.clock_jumps == 0
    board.offset_ms = 1e9
    with opened("v4l2:/dev/null") as source:
        frame = next(iter(source))
        assert frame.t_monotonic_ns <= time.monotonic_ns()
        assert source.clock_jumps == 1


def test_a_camera_pulled_out_and_put_back(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    with opened("v4l2:/dev/null", give_up_after=100, **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        board.unplugged = True
        threading.Timer(0.5, lambda: setattr(board, "unplugged", False)).start()
        start_s = time.monotonic()
        while source.restarts == 0:
            next(iterator)
        assert 0.4 < time.monotonic() - start_s < 5  # 0.6
    assert any("/dev/null: was disconnected; check cable and power" in text for text in caplog.messages)
    assert board.holder is None


def test_a_silent_camera_is_closed_before_it_is_opened_again(board: Board) -> None:
    with opened("v4l2:/dev/null", give_up_after=100, **QUICK) as source:
        iterator = iter(source)
        next(iterator)
        board.silent = True
        threading.Timer(1.0, lambda: setattr(board, "silent", False)).start()
        start_s = time.monotonic()
        while source.restarts == 0:
            next(iterator)
        assert 0.9 < time.monotonic() - start_s < 10  # 1.5
    assert board.opened >= 2


def test_a_busy_camera_is_an_error_at_once(board: Board) -> None:
    board.holder = object()
    start_s = time.monotonic()
    with pytest.raises(
        SourceError, match=r"/dev/null: does not open as a camera; another program may have it"
    ):
        opened("v4l2:/dev/null")
    assert time.monotonic() - start_s < 3


def test_a_camera_that_opens_and_gives_nothing(board: Board) -> None:
    board.silent = True
    with pytest.raises(SourceError, match=r"/dev/null: opens, but gives no frame"):
        opened("v4l2:/dev/null")


def test_a_device_that_is_no_camera_with_the_real_opencv() -> None:
    with pytest.raises(SourceError, match=r"/dev/null: does not open as a camera"):
        opened("v4l2:/dev/null")


def test_files_and_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "clip.mp4"
    file.touch()
    with pytest.raises(SourceError, match=r"clip.mp4: is no camera device; give /dev/video0"):
        opened(f"v4l2:{file}")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SourceError, match=r"/dev/null: may not be opened; sudo usermod -aG video \$USER"):
        opened("v4l2:/dev/null")


@pytest.mark.parametrize(("pixel_format", "pixel_bytes"), [("YUYV", 2), ("BGR3", 3)])
def test_rows_that_a_driver_fills_up_are_cut_to_their_width(pixel_format: str, pixel_bytes: int) -> None:
    sent = np.random.default_rng(0).integers(0, 256, (4, 8 * pixel_bytes), dtype=np.uint8)
    padded = np.pad(sent, ((0, 0), (0, 10)))
    frame = v4l2.decoded(padded.reshape(1, -1), pixel_format, (8, 4))
    assert frame is not None
    assert frame.shape == (4, 8, 3)
    assert frame.flags.c_contiguous
    np.testing.assert_array_equal(frame, v4l2.decoded(sent.reshape(1, -1), pixel_format, (8, 4)))
    assert v4l2.decoded(sent.reshape(-1)[:-1], pixel_format, (8, 4)) is None
