"""USB and other Video4Linux cameras, through OpenCV."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from edge_runtime.config import SourceConfig
from edge_runtime.errors import SourceError
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.types import Frame

logger = logging.getLogger(__name__)

DEFAULT_RATE_HZ = 30.0
YUYV_MOST_BYTES_S = 25_000_000  # USB 2 carries a little more, its hubs and the Pi's bus often not
JPEG_END = b"\xff\xd9"
JPEGS = frozenset({"MJPG", "JPEG"})
# Bytes a pixel of what is unpacked here, and how; the blue, green and red of BGR3 are as we want them.
RAW: dict[str, tuple[int, int | None]] = {"YUYV": (2, cv2.COLOR_YUV2BGR_YUYV), "BGR3": (3, None)}


class V4l2Camera(Camera):
    """A camera at a device file.

    What cameras send is decoded here and not by OpenCV: in place of a picture that is cut off it hands on the
    last good one, or a mixture, and BGR3 without its shape.

    Args:
        device: path of the device file.
        config: `width`, `height`, `rate_hz`, `pixel_format` and `capture_timeout_s` are used.
    """

    reopening = "once seen"

    def __init__(self, device: str, config: SourceConfig) -> None:
        self.device, self._config = device, config
        self._capture: cv2.VideoCapture | None = None
        self._format, self._size = "", (0, 0)

    def open(self) -> None:
        """See `Camera.open`."""
        check_device(self.device)
        capture = cv2.VideoCapture(self.device, cv2.CAP_V4L2)
        self._capture = capture
        if not capture.isOpened():
            raise SourceError(
                "does not open as a camera",
                where=self.device,
                fix="another program may have it (fuser -v), or it is not the capture node "
                "(v4l2-ctl --list-devices); a Pi camera is picamera2:",
            )
        self._configure(capture)
        # Starts the stream, and OpenCV leaves out its first frame, which is often bad.
        if not capture.grab():
            raise SourceError(
                "opens, but gives no frame",
                where=self.device,
                fix="another program may have it (fuser -v), or USB is too slow for this size and rate",
            )

    def read(self) -> Capture:
        """See `Camera.read`."""
        capture = self._capture
        assert capture is not None
        timeout_ns = int(self._config.capture_timeout_s * 1e9)
        try:
            ready, _ = cv2.VideoCapture.waitAny([capture], timeout_ns)
        except cv2.error as error:
            raise SourceError("was disconnected", where=self.device, fix="check cable and power") from error
        if not ready:
            raise SourceError(f"gave no frame within {timeout_ns / 1e9:g} s", where=self.device)
        if not capture.grab():
            raise SourceError("was disconnected", where=self.device, fix="check cable and power")
        # The driver's buffer time stamp, of CLOCK_MONOTONIC.
        taken_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        good, data = capture.retrieve()
        image = decoded(data, self._format, self._size) if good and data is not None else None
        return Capture(image, int(taken_ms * 1e6) if taken_ms > 0 else None)

    def close(self) -> None:
        """See `Camera.close`."""
        if self._capture is not None:
            self._capture.release()

    def _configure(self, capture: cv2.VideoCapture) -> None:
        config = self._config
        asked_hz = config.rate_hz or DEFAULT_RATE_HZ
        asked = asked_format(config, asked_hz)
        # The format first: sizes and rates hang on it.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*asked))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, config.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, config.height)
        capture.set(cv2.CAP_PROP_FPS, asked_hz)
        given = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
        if given in JPEGS or given in RAW:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        rate_hz = capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate_hz if rate_hz > 0 else None
        width, height = (int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self._format, self._size = given, (width, height)
        shown = f"{width}x{height} {given} at {rate_hz:g} Hz"
        wanted = f"{config.width}x{config.height} {asked} at {asked_hz:g} Hz"
        logger.info("%s: %s%s", self.device, shown, "" if shown == wanted else f", asked for {wanted}")


def asked_format(config: SourceConfig, rate_hz: float) -> str:
    """The four characters of the pixel format to ask for."""
    if config.pixel_format != "auto":
        return config.pixel_format
    return "YUYV" if 2 * config.width * config.height * rate_hz <= YUYV_MOST_BYTES_S else "MJPG"


def decoded(data: Any, pixel_format: str, size: tuple[int, int]) -> Frame | None:
    """What OpenCV handed over as a BGR frame, uint8 (rows, columns, 3); None if it is cut off or damaged.

    Args:
        data: uint8, a frame (rows, columns, 3), or the bytes that the camera sent, in any shape.
        pixel_format: four characters, of what the camera sent.
        size: (width, height) in pixels, of what the camera sent uncompressed.
    """
    if data.ndim == 3 and data.shape[2] == 3:
        return cast(Frame, data)
    sent = np.ascontiguousarray(data).reshape(-1)
    if pixel_format in RAW:
        return _unpacked(sent, pixel_format, size)
    # Drivers fill up with zeros after the picture. A decoder would make up what is missing.
    if JPEG_END not in sent[-4096:].tobytes() and JPEG_END not in sent.tobytes():
        return None
    return cast("Frame | None", cv2.imdecode(sent, cv2.IMREAD_COLOR))


def _unpacked(sent: Any, pixel_format: str, size: tuple[int, int]) -> Frame | None:
    (pixel_bytes, conversion), (width, height) = RAW[pixel_format], size
    # Some drivers fill up every row.
    if sent.size < width * height * pixel_bytes or sent.size % height:
        return None
    pixels = sent.reshape(height, -1)[:, : width * pixel_bytes].reshape(height, width, pixel_bytes)
    return cast(
        Frame, np.ascontiguousarray(pixels) if conversion is None else cv2.cvtColor(pixels, conversion)
    )


def check_device(device: str) -> None:
    """Raise `SourceError` with the fix unless `device` is a device file that we may open."""
    path = Path(device)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(
            f"is not there ({error.strerror})",
            where=device,
            fix="plug the camera in; v4l2-ctl --list-devices shows what there is",
        ) from error
    if not stat.S_ISCHR(mode):
        raise SourceError("is no camera device", where=device, fix="give /dev/video0 or the like")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            "may not be opened", where=device, fix="sudo usermod -aG video $USER, then log in again"
        )
