"""Network cameras: RTSP and Motion JPEG over HTTP, through OpenCV's FFmpeg."""

from __future__ import annotations

import math
import os
from typing import cast
from urllib.parse import SplitResult, urlsplit, urlunsplit

import cv2

from edge_runtime.config import SourceConfig
from edge_runtime.errors import SourceError
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.types import Frame

SCHEMES = ("rtsp", "rtsps", "http", "https")
# FFmpeg writes a line to standard error for every damaged frame; its level counts in debug mode only.
QUIET = {"OPENCV_FFMPEG_DEBUG": "1", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


class NetworkCamera(Camera):
    """A stream at a URL. Its frames carry no time of their own clock that could be compared with ours.

    Args:
        url: may hold a user name and a password.
        config: `open_timeout_s` and `capture_timeout_s` are used.

    Raises:
        SourceError: the URL names no host.
    """

    reopening = "always"

    def __init__(self, url: str, config: SourceConfig) -> None:
        self._url, self._config = url, config
        self.uri = without_password(url)
        if not _split(url).hostname:
            raise SourceError("names no host", where=self.uri, fix="for example rtsp://192.168.1.20/stream")
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """See `Camera.open`."""
        config = self._config
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self._capture = cv2.VideoCapture(
            self._url,
            cv2.CAP_FFMPEG,
            [
                *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(config.open_timeout_s * 1e3)),
                *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(config.capture_timeout_s * 1e3)),
                # Every decoding thread holds back one frame.
                *(cv2.CAP_PROP_N_THREADS, 1),
            ],
        )
        if not self._capture.isOpened():
            raise SourceError(
                "cannot be opened",
                where=self.uri,
                fix="check the address, user name and password, and that the camera is on",
            )
        rate_hz = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate_hz if math.isfinite(rate_hz) and 0 < rate_hz <= 1000 else None

    def read(self) -> Capture:
        """See `Camera.read`."""
        assert self._capture is not None
        good, image = self._capture.read()
        if not good:
            limit_s = self._config.capture_timeout_s
            raise SourceError(f"has ended, or gave nothing for {limit_s:g} s", where=self.uri)
        return Capture(cast(Frame, image))

    def close(self) -> None:
        """See `Camera.close`."""
        if self._capture is not None:
            self._capture.release()


def without_password(url: str) -> str:
    """The URL without the user's name and password, for logs and records."""
    parts = _split(url)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if at else url


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise SourceError(f"is not a URL ({error})", where="source.uri") from error
