"""One opening of a camera, in a thread of its own that can be left behind."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable

from edge_runtime.sources.camera import Camera, Capture


class Session:
    """Opens a camera, hands over its captures, closes it; started by the constructor.

    Python cannot end a thread that is stuck in a driver. A session that was cancelled closes its camera
    as soon as the driver lets go of it; until then it is a daemon thread that nobody waits for.

    Args:
        camera: used by this session's thread only.
        changed: guards the attributes below, and is notified when one changes.
        deliver: takes a capture; answers False when no more are wanted.

    Attributes:
        started_s, opened_s: when on `time.monotonic()`; `opened_s` is None before the camera is open.
        finished: the camera is closed and the thread gone.
        ended: the camera came to its end by itself.
        error: what ended it otherwise.
    """

    def __init__(
        self, camera: Camera, changed: threading.Condition, deliver: Callable[[Session, Capture], bool]
    ) -> None:
        self.camera = camera
        self.started_s = time.monotonic()
        self.opened_s: float | None = None
        self.finished = self.ended = False
        self.error: Exception | None = None
        self._changed, self._deliver, self._cancelled = changed, deliver, False
        self._thread = threading.Thread(target=self._run, name="cfvgg-camera", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Have the camera closed as soon as it returns."""
        self._cancelled = True

    def join(self, timeout_s: float) -> None:
        """Wait for the thread, so long at most."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        error: Exception | None = None
        ended = False
        try:
            try:
                ended = self._capture()
            finally:
                self.camera.close()
        except Exception as caught:
            error = caught
            # Its traceback, which is in a cycle, holds the variables of where it came through, frames too.
            traceback.clear_frames(caught.__traceback__)
        with self._changed:
            self.error, self.ended, self.finished = error, ended, True
            self._changed.notify_all()

    def _capture(self) -> bool:
        """Everything between opening and closing; whether the camera has come to its end."""
        self.camera.open()
        with self._changed:
            self.opened_s = time.monotonic()
        while not self._cancelled:
            capture = self.camera.read()
            if capture is None:
                return True
            if not self._deliver(self, capture):
                return False
        return False
