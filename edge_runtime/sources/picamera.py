"""Cameras of the Raspberry Pi, through Picamera2."""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.config import SourceConfig
from edge_runtime.errors import DependencyError, SourceError
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.types import Frame

logger = logging.getLogger(__name__)

DEFAULT_RATE_HZ = 30.0
BUFFERS = 4  # one that we copy, two that the camera fills, one to spare; CMA is scarce
WHOLE_VIEW = 0.98  # of the largest crop; modes that read everything differ by a few rows

# Bytes a pixel and OpenCV's conversion to BGR. libcamera names formats by the word, so RGB888 is B, G, R
# in memory.
PACKED: dict[str, tuple[int, int | None]] = {
    "RGB888": (3, None),
    "BGR888": (3, cv2.COLOR_RGB2BGR),
    "XRGB8888": (4, cv2.COLOR_BGRA2BGR),
    "XBGR8888": (4, cv2.COLOR_RGBA2BGR),
}
PLANAR = {
    "YUV420": cv2.COLOR_YUV2BGR_I420,
    "YVU420": cv2.COLOR_YUV2BGR_YV12,
    "NV12": cv2.COLOR_YUV2BGR_NV12,
    "NV21": cv2.COLOR_YUV2BGR_NV21,
}


class PiCamera(Camera):
    """One configured and running `Picamera2`; nothing is configured again before it is closed.

    Args:
        number: of the camera, as `rpicam-hello --list-cameras` counts.
        config: `width`, `height`, `rate_hz`, `stream`, `sensor_size` and `capture_timeout_s` are used.
    """

    reopening = "once seen"

    def __init__(self, number: int, config: SourceConfig) -> None:
        self.uri, self._number, self._config = f"picamera2:{number}", number, config
        self._device: Any = None

    def open(self) -> None:
        """See `Camera.open`.

        Raises:
            DependencyError: Picamera2 is not installed.
        """
        self._library = _library()
        self._check_number()
        try:
            self._device = self._library.Picamera2(self._number)
            self._configure(self._device)
            self._device.start()
        except (RuntimeError, OSError) as error:
            reason = error.__context__ or error
            raise SourceError(
                f"cannot be opened ({error}: {reason})"
                if reason is not error
                else f"cannot be opened ({error})",
                where=self.uri,
                fix="another program may have it (stop rpicam-*, motion, other services), or the user "
                "is not in the group video",
            ) from error

    def read(self) -> Capture:
        """See `Camera.read`."""
        with self._request() as request:
            layout = request.config[self._config.stream]
            with self._library.MappedArray(
                request, self._config.stream, reshape=False, write=False
            ) as mapped:
                # The buffer is not cached: read once, in order, and work on the copy.
                rows = _rows(mapped.array, layout).copy()
            taken_ns = request.get_metadata().get("SensorTimestamp")
        return Capture(to_bgr(rows, layout), to_monotonic(taken_ns) if taken_ns else None)

    def close(self) -> None:
        """See `Camera.close`."""
        device, self._device = self._device, None
        if device is not None:
            # A capture that timed out is still queued.
            device.cancel_all_and_flush()
            device.close()

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        """The next completed request, given back to the camera afterwards."""
        limit_s = self._config.capture_timeout_s
        try:
            request = self._device.capture_request(wait=limit_s)
        except TimeoutError as error:
            raise SourceError(
                f"gave no frame within {limit_s:g} s", where=self.uri, fix="check the camera's cable"
            ) from error
        try:
            yield request
        finally:
            request.release()

    def _check_number(self) -> None:
        found = self._library.Picamera2.global_camera_info()
        if self._number >= len(found):
            models = ", ".join(f"{n}: {camera.get('Model')}" for n, camera in enumerate(found)) or "none"
            raise SourceError(
                f"is not there (cameras: {models})",
                where=self.uri,
                fix="check the cable and rpicam-hello --list-cameras",
            )

    def _configure(self, device: Any) -> None:
        config = self._config
        size, rate_hz = (config.width, config.height), config.rate_hz or DEFAULT_RATE_HZ
        settings: dict[str, Any] = {"main": {"size": size, "format": "RGB888"}}
        if config.stream == "lores":
            settings["lores"] = {"size": size, "format": "YUV420"}
        if "FrameDurationLimits" in device.camera_controls:
            settings["controls"] = {"FrameRate": rate_hz}
            self.rate_hz = rate_hz
        sensor_size = config.sensor_size or _whole_view(device, size, rate_hz)
        if sensor_size:
            settings["sensor"] = {"output_size": tuple(sensor_size)}
        device.configure(
            device.create_video_configuration(
                **settings, buffer_count=BUFFERS, queue=False, display=None, encode=None
            )
        )
        self._check_layout(device.camera_configuration())

    def _check_layout(self, given: Any) -> None:
        layout = given[self._config.stream]
        if layout["format"] not in {*PACKED, *PLANAR}:
            raise SourceError(f"gives {layout['format']}, which cannot be read", where=self.uri)
        width, height = layout["size"]
        sensor = given.get("sensor") or {}
        logger.info(
            "%s: %dx%d %s, %s stream, asked for %dx%d at %g Hz, sensor at %s",
            *(self.uri, width, height, layout["format"], self._config.stream),
            *(self._config.width, self._config.height, self.rate_hz or 0),
            "x".join(map(str, sensor.get("output_size", ()))) or "its default",
        )


def to_bgr(rows: NDArray[np.uint8], layout: Any) -> Frame:
    """A stream's buffer as a frame.

    Args:
        rows: uint8 (rows, stride) of a packed format, without padding (rows, 3 or 4 times columns), or
            (3/2 rows, stride) of a planar one.
        layout: of the stream: `format` and `size`.

    Returns:
        uint8 (rows, columns, 3), BGR, contiguous.
    """
    name, (width, height) = layout["format"], layout["size"]
    if name in PLANAR:
        # Converted with its padding, which the chroma planes have too, then cut.
        return np.ascontiguousarray(cv2.cvtColor(rows, PLANAR[name])[:, :width], np.uint8)
    depth, conversion = PACKED[name]
    image = rows.reshape(height, width, depth)
    return image if conversion is None else cv2.cvtColor(image, conversion)  # type: ignore[return-value]  # cv2 says any number


def to_monotonic(taken_ns: int) -> int:
    """A sensor time stamp on the clock of `time.monotonic_ns()`.

    libcamera documents CLOCK_BOOTTIME, the Pi's driver stamps with CLOCK_MONOTONIC. They differ by the time
    spent suspended, and a frame is never of the future.
    """
    now_ns = time.monotonic_ns()
    suspended_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now_ns
    return taken_ns if taken_ns <= now_ns else taken_ns - suspended_ns


def _rows(buffer: NDArray[np.uint8], layout: Any) -> NDArray[np.uint8]:
    """A view of a stream's buffer: the rows of a packed format without padding, all of a planar one."""
    name, stride, (width, height) = layout["format"], layout["stride"], layout["size"]
    if name in PLANAR:
        return buffer[: stride * height * 3 // 2].reshape(height * 3 // 2, stride)
    return buffer[: stride * height].reshape(height, stride)[:, : width * PACKED[name][0]]


def _whole_view(device: Any, size: tuple[int, int], rate_hz: float) -> tuple[int, int] | None:
    """The sensor mode that reads the whole field of view, at the rate if one can, as small as serves."""
    if "ColorFilterArrangement" not in device.camera_properties:
        return None  # not a raw sensor; libcamera chooses
    modes = [mode for mode in device.sensor_modes if "crop_limits" in mode]
    widest = max((_area(mode) for mode in modes), default=0)
    modes = [mode for mode in modes if _area(mode) >= WHOLE_VIEW * widest]
    fast = [mode for mode in modes if mode["fps"] >= rate_hz - 0.5]
    if modes and not fast:
        fast = [max(modes, key=lambda mode: float(mode["fps"]))]
    large = [mode for mode in fast if mode["size"][0] >= size[0] and mode["size"][1] >= size[1]]
    chosen = min(large or fast, key=lambda mode: int(mode["size"][0] * mode["size"][1]), default=None)
    return tuple(chosen["size"]) if chosen else None


def _area(mode: Any) -> int:
    _, _, width, height = mode["crop_limits"]
    return int(width * height)


def _library() -> Any:
    """Picamera2, imported when a Pi camera is opened: it is Debian's, and takes a second."""
    try:
        library = importlib.import_module("picamera2")
    except ImportError as error:
        raise DependencyError(
            f"Picamera2 cannot be imported ({error})",
            where="picamera2:",
            fix="apt install python3-picamera2, and make the virtual environment with --system-site-packages",
        ) from error
    if not hasattr(library.Picamera2, "cancel_all_and_flush"):
        raise DependencyError(
            "Picamera2 is older than July 2024 and may wait for ever",
            where="picamera2:",
            fix="apt full-upgrade",
        )
    return library
