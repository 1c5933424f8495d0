"""A stand-in for the module `picamera2`: the names and the behaviour that `PiCamera` relies on.

As the real one: requests come from a few buffers and must be released; captures are jobs that a thread
finishes, and one that timed out stays queued; the array of a request is the buffer itself, padded, and is
worth nothing once the request is released.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_runtime.types import Frame

PADDING_PX = 32  # rows of a buffer are this much longer
MODES = [  # of a sensor like the IMX219
    {"size": (640, 480), "fps": 200.0, "crop_limits": (1000, 752, 1280, 960), "bit_depth": 10},
    {"size": (1640, 1232), "fps": 80.0, "crop_limits": (0, 0, 3280, 2464), "bit_depth": 10},
    {"size": (1920, 1080), "fps": 60.0, "crop_limits": (680, 692, 1920, 1080), "bit_depth": 10},
    {"size": (3280, 2464), "fps": 21.0, "crop_limits": (0, 0, 3280, 2464), "bit_depth": 10},
]


@dataclass
class Sensor:
    """The camera on the cable.

    Attributes:
        pictures: shown again and again.
        rate_hz: of frames.
        silent: gives no frames.
        busy: another program has it.
        cameras: how many there are.
        formats: that the image processor offers; another one asked for becomes the first.
        raw: whether it is a raw sensor, with modes and a frame rate to set.
        left_jobs: captures that were still queued when it was closed.
    """

    pictures: Sequence[Frame]
    rate_hz: float = 100.0
    silent: bool = False
    busy: bool = False
    cameras: int = 1
    formats: tuple[str, ...] = ("RGB888", "BGR888", "XRGB8888", "XBGR8888", "YUV420", "NV12")
    raw: bool = True
    configured: list[dict[str, Any]] = field(default_factory=list)
    opened: int = 0
    held: Any = None
    left_jobs: int = 0

    def module(self) -> ModuleType:
        """The module that takes the place of `picamera2`."""
        module = ModuleType("picamera2")
        module.Picamera2 = type("Picamera2", (_Picamera2,), {"sensor": self})  # type: ignore[attr-defined]
        module.MappedArray = _MappedArray  # type: ignore[attr-defined]
        return module


class _Job:
    def __init__(self) -> None:
        self.done, self.result, self.cancelled = threading.Event(), None, False


class _Request:
    def __init__(self, camera: _Picamera2, buffers: dict[str, NDArray[np.uint8]], taken_ns: int) -> None:
        self.config = camera.camera_configuration()
        self.buffers, self._taken_ns, self._camera = buffers, taken_ns, camera

    def get_metadata(self) -> dict[str, Any]:
        return {"SensorTimestamp": self._taken_ns, "ExposureTime": 8000}

    def release(self) -> None:
        for buffer in self.buffers.values():
            buffer[:] = 0xAA
        self._camera.free.release()


class _MappedArray:
    def __init__(self, request: _Request, stream: str, reshape: bool = True, write: bool = True) -> None:
        assert not reshape
        self._buffer = request.buffers[stream]

    def __enter__(self) -> Self:
        self.array = self._buffer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self.array


class _Picamera2:
    sensor: Sensor

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [{"Model": "imx219", "Id": f"/base/i2c/{n}", "Num": n} for n in range(cls.sensor.cameras)]

    def __init__(self, camera_num: int = 0) -> None:
        if self.sensor.busy or self.sensor.held is not None:
            try:
                raise RuntimeError("Failed to acquire camera: Device or resource busy")
            except RuntimeError:
                raise RuntimeError("Camera __init__ sequence did not complete.")  # noqa: B904 (as the real one)
        self.sensor.held, self.sensor.opened = self, self.sensor.opened + 1
        self.camera_controls: dict[str, Any] = {"ExposureTime": (1, 66666, 20000)}
        self.camera_properties: dict[str, Any] = {"Model": "imx219"}
        if self.sensor.raw:
            self.camera_controls["FrameDurationLimits"] = (5000, 11767556, 33333)
            self.camera_properties["ColorFilterArrangement"] = 2
        self._config: dict[str, Any] | None = None
        self._jobs: deque[_Job] = deque()
        self._lock, self._running = threading.Lock(), False

    @property
    def sensor_modes(self) -> list[dict[str, Any]]:
        assert not self._running
        return MODES

    def create_video_configuration(
        self,
        *,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        controls: dict[str, Any] | None = None,
        sensor: dict[str, Any] | None = None,
        buffer_count: int = 6,
        display: str | None = "main",
        encode: str | None = "main",
        queue: bool = True,
    ) -> dict[str, Any]:
        for given in (display, encode):
            assert given is None or given in {"main", "lores"}
        assert set(sensor or {}) <= {"output_size", "bit_depth"}
        return {
            "main": {"format": "XBGR8888", "size": (1280, 720), **main},
            "lores": {"format": "YUV420", "size": (1280, 720), **lores} if lores else None,
            "controls": controls or {},
            "sensor": sensor,
            "buffer_count": buffer_count,
            "queue": queue,
        }

    def configure(self, config: dict[str, Any]) -> None:
        assert not self._running, "Camera must be stopped before configuring"
        for name in config["controls"]:
            known = {*self.camera_controls, *(["FrameRate"] if self.sensor.raw else [])}
            assert name in known, f"Control {name} is not advertised by libcamera"
        rows, columns = self.sensor.pictures[0].shape[:2]
        for name in ("main", "lores"):
            if config[name]:
                stream = config[name]
                if stream["format"] not in self.sensor.formats:
                    stream["format"] = self.sensor.formats[0]
                depth = {"RGB888": 3, "BGR888": 3, "XRGB8888": 4, "XBGR8888": 4}.get(stream["format"], 1)
                stream |= {"size": (columns, rows), "stride": (columns + PADDING_PX) * depth}
        self._config = config
        self.sensor.configured.append(config)

    def camera_configuration(self) -> dict[str, Any]:
        assert self._config is not None
        return self._config

    def start(self) -> None:
        self._running = True
        self.free = threading.Semaphore(self.camera_configuration()["buffer_count"])
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def capture_request(self, wait: Any = None, signal_function: Any = None, flush: Any = None) -> Any:
        job = _Job()
        with self._lock:
            self._jobs.append(job)
        if not job.done.wait(None if wait is True or wait is None else wait):
            raise TimeoutError
        return job.result

    def cancel_all_and_flush(self) -> None:
        with self._lock:
            self._jobs.clear()

    def close(self) -> None:
        self.sensor.left_jobs += len(self._jobs)
        if self._running:
            self._running = False
            self._thread.join()
        if self.sensor.held is self:
            self.sensor.held = None

    def _work(self) -> None:
        number = 0
        while self._running:
            time.sleep(1 / self.sensor.rate_hz)
            # A camera without a free buffer goes on and the frame is lost.
            if self.sensor.silent or not self._jobs or not self.free.acquire(blocking=False):
                continue
            number += 1
            picture = self.sensor.pictures[number % len(self.sensor.pictures)]
            taken_ns = time.monotonic_ns()
            config = self.camera_configuration()
            streams = {name: config[name] for name in ("main", "lores") if config[name]}
            buffers = {name: buffer(picture, layout) for name, layout in streams.items()}
            with self._lock:
                job = self._jobs.popleft() if self._jobs else None
            if job is None:
                self.free.release()
            else:
                job.result = _Request(self, buffers, taken_ns)  # type: ignore[assignment]
                job.done.set()


def buffer(image: Frame, layout: dict[str, Any]) -> NDArray[np.uint8]:
    """An image as the camera writes it: uint8 (bytes,), with padded rows and a page's remainder."""
    name, stride = layout["format"], layout["stride"]
    if name in {"YUV420", "NV12"}:
        wide = cv2.copyMakeBorder(image, 0, 0, 0, PADDING_PX, cv2.BORDER_CONSTANT, value=(7, 7, 7))
        planes = cv2.cvtColor(wide, cv2.COLOR_BGR2YUV_I420)
        if name == "NV12":
            height = image.shape[0]
            chroma = planes[height:].reshape(2, -1).T
            planes = np.concatenate([planes[:height].ravel(), chroma.ravel()])
        data = planes.ravel()
    else:
        code = {"BGR888": cv2.COLOR_BGR2RGB, "XRGB8888": cv2.COLOR_BGR2BGRA, "XBGR8888": cv2.COLOR_BGR2RGBA}
        pixels = cv2.cvtColor(image, code[name]) if name in code else image
        rows = pixels.reshape(image.shape[0], -1)
        data = np.pad(rows, ((0, 0), (0, stride - rows.shape[1])), constant_values=7).ravel()
    return np.concatenate([data, np.full(512, 7)]).astype(np.uint8)  # type: ignore[no-any-return]  # cv2 says any number
