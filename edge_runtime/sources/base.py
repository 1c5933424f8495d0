"""What every frame source does the same way, and what recordings add: numbering and one frame size."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from edge_runtime.errors import SourceError
from edge_runtime.types import Frame

DROP_REASONS = ("overrun", "corrupt", "size")
Condition = Literal["running", "stalled", "reopening"]


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame and when it was taken.

    Attributes:
        image: uint8 (rows, columns, 3), BGR; stays valid, and nobody writes to it.
        index: number of the frame in its source, from 0; those that were dropped count too.
        t_monotonic_ns: on the clock of `time.monotonic_ns()`, when it was taken if the device tells and
            that is plausible, else when it arrived. Rises from frame to frame.
        t_unix: wall-clock seconds when it was taken; None for recordings, whose files do not tell.
    """

    image: Frame
    index: int
    t_monotonic_ns: int
    t_unix: float | None


class FrameSource(ABC):
    """A context manager that is iterated once for its `CapturedFrame`s.

    Opening and iterating raise `SourceError` on anything that cannot be read, decoded or understood.

    Attributes:
        uri: what was opened, for messages and summaries.
        frame_size: (width, height) in pixels.
        frame_rate_hz: nominal rate, or None when the source has none.
        frame_count: number of frames, or None when unknown.
        live: whether frames come in real time: the newest one wins, and cameras never end by themselves.
    """

    uri: str
    frame_size: tuple[int, int]
    frame_rate_hz: float | None
    frame_count: int | None
    live: bool = False

    _stopped = False

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames that were captured and not given out, by reason.

        "overrun": a newer one came; "corrupt": it could not be decoded; "size": it was not of
        `frame_size`.
        """
        return dict.fromkeys(DROP_REASONS, 0)

    @property
    def restarts(self) -> int:
        """How often the device was opened again, and gave frames again."""
        return 0

    @property
    def clock_jumps(self) -> int:
        """How often the device's time stamps stopped being plausible."""
        return 0

    @property
    def condition(self) -> Condition:
        """What the device does now."""
        return "running"

    def stop(self) -> None:
        """End the iteration within 0.3 s, from any thread or signal handler."""
        # Nothing but this assignment: a signal handler may interrupt whoever holds a lock.
        self._stopped = True

    def close(self) -> None:  # noqa: B027 (most sources hold nothing)
        """Give everything back; may be called more than once."""

    @abstractmethod
    def __iter__(self) -> Iterator[CapturedFrame]: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RecordedSource(FrameSource):
    """Frames one after the other, as fast as they are asked for; none is dropped, every fault is an error."""

    _tells_time = False

    @abstractmethod
    def images(self) -> Iterator[Frame]:
        """The images in order."""

    def __iter__(self) -> Iterator[CapturedFrame]:
        for index, image in enumerate(self.images()):
            if self._stopped:
                return
            size = (image.shape[1], image.shape[0])
            if size != self.frame_size:
                raise SourceError(
                    f"frame {index} is {size[0]}x{size[1]}, the first was "
                    f"{self.frame_size[0]}x{self.frame_size[1]}",
                    where=self.uri,
                    fix="give frames of one size",
                )
            yield CapturedFrame(image, index, time.monotonic_ns(), time.time() if self._tells_time else None)
