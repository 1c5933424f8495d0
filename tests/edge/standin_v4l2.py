"""A stand-in for `cv2.VideoCapture` on a V4L2 device, with a camera behind it that can be pulled out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from edge_runtime.types import Frame


@dataclass
class Board:
    """The camera on the cable. Sizes and rates asked for are taken from what it offers.

    Attributes:
        pictures: shown again and again.
        rate_hz: of frames.
        formats: that the driver offers, of YUYV, BGR3 and MJPG; the first is the default.
        unplugged, silent: it is gone; it is there and gives nothing.
        cut_off: numbers of frames that end early.
        filled_up: bytes after every row of a YUYV frame.
        offset_ms: by which its time stamps are wrong.
    """

    pictures: Sequence[Frame]
    rate_hz: float = 100.0
    formats: tuple[str, ...] = ("YUYV", "MJPG")
    unplugged: bool = False
    silent: bool = False
    cut_off: set[int] = field(default_factory=set)
    filled_up: int = 0
    offset_ms: float = 0.0
    opened: int = 0
    asked: dict[int, float] = field(default_factory=dict)
    holder: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def capture_class(self) -> type:
        """The class that takes the place of `cv2.VideoCapture`."""
        return type("VideoCapture", (_Capture,), {"board": self})


class _Capture:
    board: Board

    def __init__(self, filename: str, api: int) -> None:
        assert api == cv2.CAP_V4L2
        board = self.board
        with board.lock:
            self._open = board.holder is None and not board.unplugged
            if self._open:
                board.holder, board.opened = self, board.opened + 1
        self._format, self._convert = board.formats[0], True
        self._number, self._next_s, self._pending, self._taken_s = -1, time.monotonic(), False, 0.0

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self._open

    def release(self) -> None:
        with self.board.lock:
            if self.board.holder is self:
                self.board.holder = None
        self._open = False

    def set(self, prop: int, value: float) -> bool:
        self.board.asked[prop] = value
        if prop == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode()
            if name not in self.board.formats:
                return False
            self._format = name
        if prop == cv2.CAP_PROP_CONVERT_RGB:
            self._convert = bool(value)
        return True

    def get(self, prop: int) -> float:
        rows, columns = self.board.pictures[0].shape[:2]
        return {
            cv2.CAP_PROP_FRAME_WIDTH: columns,
            cv2.CAP_PROP_FRAME_HEIGHT: rows,
            cv2.CAP_PROP_FPS: self.board.rate_hz,
            cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*self._format)),
            cv2.CAP_PROP_POS_MSEC: self._taken_s * 1e3 + self.board.offset_ms,
        }[prop]

    @staticmethod
    def waitAny(streams: Sequence[_Capture], timeout_ns: int) -> tuple[bool, Sequence[int]]:  # noqa: N802
        (stream,) = streams
        stream._pending = stream._frame_comes(timeout_ns / 1e9)
        return stream._pending, [0] if stream._pending else []

    def grab(self) -> bool:
        # OpenCV's select gives up after 10 s; a test has no time for that.
        grabbed = self._pending or self._frame_comes(0.5)
        self._pending = False
        return grabbed and not self.board.unplugged

    def retrieve(self) -> tuple[bool, Any]:
        image = self.board.pictures[self._number % len(self.board.pictures)]
        if self._convert and self._format != "BGR3":  # OpenCV 4.11 forgets that one's shape
            return True, image.copy()
        data = self._sent(image)
        if self._number in self.board.cut_off:
            data = data[: data.size // 2]
        if self._format == "MJPG":
            data = np.concatenate([data, np.zeros(64, np.uint8)])
        return True, data.reshape(1, -1)

    def _sent(self, image: Frame) -> Any:
        if self._format == "MJPG":
            return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].reshape(-1)
        if self._format == "BGR3":
            return image.reshape(-1)
        rows = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_YUYV).reshape(len(image), -1)
        return np.pad(rows, ((0, 0), (0, self.board.filled_up))).reshape(-1)

    def _frame_comes(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.board.unplugged:
                raise cv2.error("Error is reported for camera stream")
            if not self.board.silent and time.monotonic() >= self._next_s:
                self._taken_s = time.monotonic()
                self._number += 1
                self._next_s = max(self._next_s + 1 / self.board.rate_hz, self._taken_s - 0.05)
                return True
            time.sleep(0.001)
        return False
