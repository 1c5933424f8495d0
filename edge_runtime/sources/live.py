"""A camera as a frame source: the newest frame wins, nothing waits for ever, what fails is opened again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from edge_runtime.config import SourceConfig
from edge_runtime.errors import CameraError, CfvggError, SourceError
from edge_runtime.log_limit import LimitedLog
from edge_runtime.sources.base import DROP_REASONS, CapturedFrame, Condition, FrameSource
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.sources.frame_clock import FrameClock
from edge_runtime.sources.session import Session
from edge_runtime.types import Frame

SLICE_S = 0.1  # `stop` only sets a flag, which is looked at so often
GRACE_S = 0.5  # for a camera to close by itself before its thread is left behind
CLOSE_S = 2.0
MOST_STUCK = 4  # threads left behind in a driver; a new process is needed then


class LiveSource(FrameSource):
    """Frames of a camera in real time.

    A thread reads the camera into one slot; iterating takes what is there and waits for the next. A
    camera that gives no usable frame for `capture_timeout_s`, or that fails, is closed and opened again,
    after `reopen_wait_s`, doubled with every further attempt up to `reopen_most_s`. The source waits for
    the first frame before it is there.

    Args:
        make_camera: a new `Camera` for every opening.
        uri: for messages.
        config: its timeouts are used.
        stopping: asked while waiting for the first frame; True gives up.
        patient: whether a camera that was never seen is tried again as well.

    Raises:
        SourceError: no first frame came, or `give_up_after` attempts to open it again have failed
            (`CameraError`).
    """

    live = True
    frame_count = None

    def __init__(
        self,
        make_camera: Callable[[], Camera],
        uri: str,
        config: SourceConfig,
        stopping: Callable[[], bool] = lambda: False,
        patient: bool = False,
    ) -> None:
        self._patient = patient
        self.uri, self._config, self._make_camera = uri, config, make_camera
        self._log = LimitedLog(logging.getLogger(__name__))
        self._changed = threading.Condition()
        self._slot: CapturedFrame | None = None
        self._size: tuple[int, int] | None = None
        self._captured = self._restarts = self._attempts = 0
        self._dropped = dict.fromkeys(DROP_REASONS, 0)
        self._clock = FrameClock()
        self._stuck: list[Session] = []
        self._last_good_s = time.monotonic()
        self._stopping = stopping
        self._start_session()
        try:
            if not self._wait_for_frame():
                raise CameraError("gave no frame before it was stopped or ended", where=uri)
        except BaseException:
            self.close()
            raise
        self._stopping = lambda: False

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `FrameSource.dropped`."""
        with self._changed:
            return dict(self._dropped)

    @property
    def restarts(self) -> int:
        """See `FrameSource.restarts`."""
        return self._restarts

    @property
    def clock_jumps(self) -> int:
        """See `FrameSource.clock_jumps`."""
        return self._clock.jumps

    @property
    def condition(self) -> Condition:
        """See `FrameSource.condition`."""
        if self._attempts:
            return "reopening"
        silent_s = time.monotonic() - self._last_good_s
        return "stalled" if silent_s > self._config.capture_timeout_s / 2 else "running"

    def close(self) -> None:
        """Close the camera; one that does not return is left to its thread."""
        self._stopped = True
        self._session.cancel()
        self._session.join(CLOSE_S)

    def __iter__(self) -> Iterator[CapturedFrame]:
        while self._wait_for_frame():
            with self._changed:
                frame, self._slot = self._slot, None
            if frame is not None:
                yield frame

    def _deliver(self, session: Session, capture: Capture) -> bool:
        """Take a capture of the session's thread; False when that session has been replaced."""
        arrived_ns = time.monotonic_ns()
        with self._changed:
            if session is not self._session or self._stopped:
                return False
            index, self._captured = self._captured, self._captured + 1
            image = capture.image
            if image is None or not _is_frame(image):
                self._drop("corrupt", "a frame cannot be decoded")
                return True
            size = (image.shape[1], image.shape[0])
            seen = self._size is not None
            if self._size is None:
                self._size = self.frame_size = size
                self.frame_rate_hz = session.camera.rate_hz
            if size != self._size:
                shown = f"{size[0]}x{size[1]}, not {self._size[0]}x{self._size[1]}"
                self._drop("size", f"a frame is {shown}")
                return True
            if self._slot is not None:
                self._dropped["overrun"] += 1
            stamp_ns = self._clock.stamp(capture.taken_ns, arrived_ns)
            unix_s = time.time() - (time.monotonic_ns() - stamp_ns) / 1e9
            self._slot = CapturedFrame(image, index, stamp_ns, unix_s)
            self._last_good_s = arrived_ns / 1e9
            self._restarts += seen and self._attempts > 0
            self._attempts = 0
            self._changed.notify_all()
        return True

    def _drop(self, reason: str, message: str) -> None:
        self._dropped[reason] += 1
        self._log.warning(f"{self.uri}: {message}; it was left out", key=reason)

    def _wait_for_frame(self) -> bool:
        """Until the slot is full: True; False when stopped or ended. Replaces sessions that fail."""
        while True:
            with self._changed:
                if self._halted():
                    return False
                if self._slot is not None:
                    return True
                if self._session.ended:
                    return False
                trouble = self._trouble()
                if trouble is None:
                    self._changed.wait(SLICE_S)
                    continue
            self._replace_session(trouble)

    def _halted(self) -> bool:
        return self._stopped or self._stopping()

    def _trouble(self) -> CfvggError | None:
        """Why the present session must be replaced; None while all is well."""
        session, config = self._session, self._config
        if session.finished:
            error = session.error or SourceError("stopped", where=self.uri)
            if isinstance(error, CfvggError):
                return error
            return SourceError(f"failed ({type(error).__name__}: {error})", where=self.uri)
        if session.opened_s is None:
            since_s, limit_s, what = session.started_s, config.open_timeout_s, "did not open"
        else:
            since_s = max(self._last_good_s, session.opened_s)
            limit_s, what = config.capture_timeout_s, "gave no usable frame"
        if time.monotonic() - since_s <= limit_s:
            return None
        return SourceError(f"{what} within {limit_s:g} s", where=self.uri, fix="check cable and power")

    def _replace_session(self, trouble: CfvggError) -> None:
        """Close the camera and, after a pause, open it again."""
        old, config = self._session, self._config
        old.cancel()
        self._pause(GRACE_S, lambda: old.finished)
        self._stuck = [session for session in [*self._stuck, old] if not session.finished]
        reopening = old.camera.reopening
        if reopening == "never" or not isinstance(trouble, SourceError):
            raise trouble
        if reopening == "once seen" and self._size is None and not self._patient:
            raise CameraError(trouble.what, where=trouble.where, fix=trouble.fix) from trouble
        if self._attempts >= config.give_up_after or len(self._stuck) > MOST_STUCK:
            attempts = f"{self._attempts} attempts to open it again"
            raise CameraError(f"given up after {attempts}; {trouble.what}", where=self.uri, fix=trouble.fix)
        self._attempts += 1
        wait_s = min(config.reopen_wait_s * 2 ** (self._attempts - 1), config.reopen_most_s)
        self._log.warning(f"{trouble}; opening it again in {wait_s:g} s", key=trouble.what)
        self._pause(wait_s)
        if self._halted():
            return
        self._start_session()

    def _start_session(self) -> None:
        # Its thread may deliver before the assignment is done, and waits for the lock then.
        with self._changed:
            self._clock.restart()
            self._session = Session(self._make_camera(), self._changed, self._deliver)

    def _pause(self, timeout_s: float, done: Callable[[], bool] = lambda: False) -> None:
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while not done() and not self._halted() and (left_s := deadline_s - time.monotonic()) > 0:
                self._changed.wait(min(left_s, SLICE_S))


def _is_frame(image: Frame) -> bool:
    return image.ndim == 3 and image.shape[2] == 3 and image.size > 0 and image.dtype == np.uint8
