"""A virtual camera: real time, faults on cue, and the truth about where the target is."""

from __future__ import annotations

import bisect
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import RecordedSource
from edge_runtime.sources.camera import Camera, Capture
from edge_runtime.sources.fake import TURN_FRAMES, FakeScript, Scene, uri_settings
from edge_runtime.sources.faults import KINDS, Fault, FaultScript
from edge_runtime.sources.loop import LoopedSource
from edge_runtime.structure import structure
from edge_runtime.types import Box, Frame

BUFFERS = 4  # frames that wait for a late reader, as in a driver
NUMBER_BITS = 24
NUMBER_PX = 2


@dataclass(frozen=True)
class VirtualScript:
    """What a virtual camera shows and what goes wrong; see `FakeScript` and `FaultScript.parse`.

    Attributes:
        frames: after which it ends; 0 for never.
        faults: as text.
        show: a video or folder of pictures that it films, again and again, instead of the scene.
    """

    frames: int = 0
    width: int = 320
    height: int = 240
    target_px: int = 40
    rate_hz: float = 30.0
    seed: int = 0
    faults: str = ""
    show: str = ""

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ValueError(f"frames = {self.frames} is out of range")
        self.scene_script()

    def scene_script(self) -> FakeScript:
        """The same as a script for the fake. Raises `ValueError` for what is out of range."""
        return FakeScript(
            max(1, self.frames), self.width, self.height, self.target_px, self.rate_hz, self.seed
        )


class VirtualDevice:
    """A camera on its cable: runs in real time from the first opening on, whether it is read or not.

    Args:
        script: what it shows.
        uri: for messages.
        open_recording: opens what `script.show` names.

    Raises:
        SourceError: the faults cannot be read, or what it shows cannot be opened.
    """

    def __init__(
        self, script: VirtualScript, uri: str, open_recording: Callable[[str], RecordedSource]
    ) -> None:
        self.script, self.uri = script, uri
        kinds = tuple(kind for kind in KINDS if not script.show or kind != "hidden")
        self.faults = FaultScript.parse(script.faults, uri, kinds)
        self._scene = Scene(script.scene_script())
        self._shown: Iterator[Frame] | None = None
        if script.show:
            self._shown = LoopedSource(lambda: open_recording(script.show)).images()
        self._lock = threading.Lock()
        self._started_s: float | None = None
        self._hidden: list[tuple[int, int, int]] = []  # first frame without the target, first with it, offset
        self._planned = 0

    @classmethod
    def from_uri(cls, uri: str, open_recording: Callable[[str], RecordedSource]) -> VirtualDevice:
        """From `fake:live=true&name=value`, with the names of `VirtualScript`.

        Raises:
            SourceError: a setting or a fault is unknown, of the wrong type or out of range.
        """
        settings = {name: value for name, value in uri_settings(uri).items() if name != "live"}
        return cls(structure(VirtualScript, settings, uri, SourceError), uri, open_recording)

    def plug_in(self) -> int:
        """Start the clock if it does not run; the number of the frame that is due now."""
        with self._lock:
            if self._started_s is None:
                self._started_s = time.monotonic()
        return self.index_now()

    def index_now(self) -> int:
        """The number of the newest frame."""
        return math.floor((time.monotonic() - (self._started_s or 0.0)) * self.script.rate_hz)

    def due_s(self, index: int) -> float:
        """When frame `index` is complete, on the clock of `time.monotonic()`."""
        return (self._started_s or 0.0) + index / self.script.rate_hz

    def truth(self, index: int) -> Box | None:
        """Where the target is in frame `index`, by the virtual camera's own count; None while hidden.

        After every time it was hidden it goes on from another place of its path, far from where it vanished.
        """
        with self._lock:
            self._plan(index)
            place = bisect.bisect(self._hidden, (index, math.inf, 0)) - 1
        if place < 0:
            return self._scene.box(index)
        _, back, offset = self._hidden[place]
        return self._scene.box(index + offset) if index >= back else None

    def _plan(self, index: int) -> None:
        """Decide where the target comes back, for all that is hidden up to frame `index`."""
        for fault in self.faults.starting("hidden", self._planned, index):
            back = fault.last(self.script.rate_hz) + 1
            gone = self._scene.box(fault.frame + (self._hidden[-1][2] if self._hidden else 0))
            offset = max(
                range(TURN_FRAMES), key=lambda steps: math.dist(gone[:2], self._scene.box(back + steps)[:2])
            )
            self._hidden.append((fault.frame, back, offset))
        self._planned = max(self._planned, index + 1)

    def image(self, index: int) -> Frame:
        """Frame `index` with its number in the corner, see `frame_number`."""
        faults = self.faults.at(index, self.script.rate_hz)
        if self._shown is not None:
            with self._lock:
                image = next(self._shown).copy()
        else:
            image = self._scene.image(self.truth(index))
        if "dark" in faults:
            image >>= 5
        _write_number(image, index)
        return image[:, ::2].copy() if "size" in faults else image


class VirtualCamera(Camera):
    """One opening of a `VirtualDevice`."""

    reopening = "once seen"

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device
        self.rate_hz = device.script.rate_hz

    def open(self) -> None:
        """See `Camera.open`; fails while the device is disconnected."""
        self._opened = self._next = self._device.plug_in()
        if "disconnect" in self._faults(self._opened):
            raise SourceError("is not there", where=self._device.uri, fix="wait for the end of the fault")

    def read(self) -> Capture | None:
        """See `Camera.read`. A stall lasts as long as scripted, but only in the opening in which it began."""
        device = self._device
        while True:
            index = max(self._next, device.index_now() - BUFFERS + 1)
            self._next = index + 1
            faults = self._faults(index)
            _sleep_until(device.due_s(index))
            if device.script.frames and index >= device.script.frames:
                return None
            if "disconnect" in faults:
                raise SourceError("was disconnected", where=device.uri)
            stall = faults.get("stall")
            if stall is not None and stall.frame >= self._opened:
                _sleep_until(device.due_s(stall.last(device.script.rate_hz) + 1))
            elif "drop" not in faults:
                break
        taken_ns = int(device.due_s(index) * 1e9)
        if "time" in faults:
            taken_ns += int(faults["time"].amount * 1e9)
        return Capture(None if "corrupt" in faults else device.image(index), taken_ns)

    def close(self) -> None:
        """See `Camera.close`."""

    def _faults(self, index: int) -> dict[str, Fault]:
        return self._device.faults.at(index, self._device.script.rate_hz)


def frame_number(image: Frame) -> int:
    """The number of a virtual camera's frame, read from the picture's top left corner (modulo 2**24)."""
    row = image[0, : NUMBER_BITS * NUMBER_PX : NUMBER_PX, 0] > 127
    return int.from_bytes(np.packbits(row).tobytes(), "big")


def _write_number(image: Frame, index: int) -> None:
    """White and black squares, the most significant bit first."""
    bits = [(index >> bit) & 1 for bit in range(NUMBER_BITS - 1, -1, -1)]
    image[:NUMBER_PX, : NUMBER_BITS * NUMBER_PX] = np.repeat(np.array(bits, np.uint8) * 255, NUMBER_PX)[
        :, None
    ]


def _sleep_until(moment_s: float) -> None:
    time.sleep(max(0.0, moment_s - time.monotonic()))
