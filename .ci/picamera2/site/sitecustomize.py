"""Fits Picamera2 to libcamera's virtual camera; Python runs this when it starts, from PYTHONPATH.

The virtual camera has no raw stream, allocates its buffers itself, and completes a request as soon as it is
queued. A sensor takes as long as a frame takes, so requests are held back here:

    CFVGG_CAMERA_RATE_HZ        frames a second
    CFVGG_CAMERA_HANGS_AFTER    so many frames, once: no more come until the camera is opened again; 0: never
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Any

import libcamera
import picamera2
from picamera2.allocators import LibcameraAllocator
from picamera2.allocators.allocator import Allocator


class VirtualPicamera2(picamera2.Picamera2):  # type: ignore[misc]  # not installed where types are checked
    """`Picamera2` for a camera without a raw stream that allocates its buffers itself."""

    def __init__(self, camera_num: int = 0) -> None:
        super().__init__(camera_num, allocator=Allocator())
        self.allocator = LibcameraAllocator(self.camera)

    def _get_raw_modes(self) -> list[dict[str, Any]]:
        return [{"format": "NV12", "size": (640, 480)}]


class Sensor:
    """Hands requests to libcamera at the rate of a sensor, from a thread of its own.

    Args:
        rate_hz: frames a second.
        hangs_after: so many frames; 0 for never.
    """

    def __init__(self, rate_hz: float, hangs_after: int) -> None:
        self._period_s, self._hangs_after = 1 / rate_hz, hangs_after
        self._frames, self._hanging = 0, False
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._queue, self._stop = libcamera.Camera.queue_request, libcamera.Camera.stop
        threading.Thread(target=self._expose, name="sensor", daemon=True).start()

    def queue_request(self, camera: Any, request: Any) -> None:
        """For `libcamera.Camera.queue_request`."""
        with self._lock:
            self._waiting.append((camera, request))

    def stop(self, camera: Any) -> None:
        """For `libcamera.Camera.stop`."""
        with self._lock:
            self._waiting.clear()
            self._hanging = False
            self._stop(camera)

    def _expose(self) -> None:
        due_s = time.monotonic()
        while True:
            due_s = max(due_s + self._period_s, time.monotonic())
            time.sleep(max(0.0, due_s - time.monotonic()))
            with self._lock:
                if self._waiting and not self._hanging:
                    self._queue(*self._waiting.popleft())
                    self._frames += 1
                    self._hanging = self._frames == self._hangs_after


def _queue_request(camera: Any, request: Any) -> None:
    SENSOR.queue_request(camera, request)


def _stop(camera: Any) -> None:
    SENSOR.stop(camera)


picamera2.Picamera2 = VirtualPicamera2
SENSOR = Sensor(
    float(os.environ.get("CFVGG_CAMERA_RATE_HZ", "30")), int(os.environ.get("CFVGG_CAMERA_HANGS_AFTER", "0"))
)
libcamera.Camera.queue_request = _queue_request
libcamera.Camera.stop = _stop
