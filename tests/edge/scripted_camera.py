"""A camera whose every opening does what a script says."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edge_runtime.sources.camera import Camera, Capture, Reopening
from edge_runtime.types import Frame

PERIOD_S = 0.01


def picture(width: int = 64) -> Frame:
    return np.full((48, width, 3), 99, np.uint8)


Script = Callable[["ScriptedCamera"], Iterator[Capture]]


@dataclass
class Scripted:
    """Makes cameras; the n-th opening does what the n-th script says, later ones what the last says.

    A script is called with the camera; it is a generator of captures, and may raise or wait.
    """

    scripts: list[Script]
    reopening: Reopening = "once seen"
    cameras: list[ScriptedCamera] = field(default_factory=list)

    def __call__(self) -> Camera:
        script = self.scripts[min(len(self.cameras), len(self.scripts) - 1)]
        self.cameras.append(ScriptedCamera(script, self.reopening))
        return self.cameras[-1]


class ScriptedCamera(Camera):
    rate_hz = 1 / PERIOD_S

    def __init__(self, script: Script, reopening: Reopening) -> None:
        self._script, self.reopening = script, reopening
        self.opened, self.closed, self.let_go = False, False, threading.Event()

    def open(self) -> None:
        captures = self._script(self)
        first = next(captures, None)  # a script that fails at once fails to open
        self._captures = itertools.chain([first] if first else [], captures)
        self.opened = True

    def read(self) -> Capture | None:
        time.sleep(PERIOD_S)
        return next(self._captures, None)

    def close(self) -> None:
        self.closed = True


def good(camera: ScriptedCamera, count: int = 10**9) -> Iterator[Capture]:
    for _ in range(count):
        yield Capture(picture())


def then(after: int, error: Exception) -> Script:
    def script(camera: ScriptedCamera) -> Iterator[Capture]:
        yield from good(camera, after)
        raise error

    return script


def stuck(after: int) -> Script:
    """In the driver, until the test lets go."""

    def script(camera: ScriptedCamera) -> Iterator[Capture]:
        yield from good(camera, after)
        camera.let_go.wait(30)
        yield Capture(picture())

    return script


def only(capture: Capture, after: int = 3) -> Script:
    """Good frames, then nothing but this."""

    def script(camera: ScriptedCamera) -> Iterator[Capture]:
        yield from good(camera, after)
        while True:
            yield capture

    return script
