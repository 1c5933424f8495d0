"""What `LiveSource` asks of a camera: open, read one frame, close. All three may block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

from edge_runtime.types import Frame

Reopening = Literal["never", "once seen", "always"]


class Capture(NamedTuple):
    """What a camera gave.

    Attributes:
        image: uint8 (rows, columns, 3), BGR, owned by the receiver; None if it could not be decoded.
        taken_ns: when the device says it was taken, on the clock of `time.monotonic_ns()`; None if it
            does not say.
    """

    image: Frame | None
    taken_ns: int | None = None


class Camera(ABC):
    """One opening of a camera: `open`, `read` again and again, `close`, all from one thread, in this order.

    Attributes:
        reopening: when another opening is tried after this one failed: "never" (recordings), "once seen"
            (a device that has given a frame since the start), or "always" (a server, which may come up
            later than we do).
        rate_hz: nominal frame rate, known after `open`; None when the camera does not tell.
    """

    reopening: Reopening
    rate_hz: float | None = None

    @abstractmethod
    def open(self) -> None:
        """Open the device.

        Raises:
            SourceError: it is not there, busy, not permitted, or does not answer.
        """

    @abstractmethod
    def read(self) -> Capture | None:
        """Wait for the next frame, if possible no longer than `source.capture_timeout_s`; None at the end.

        Raises:
            SourceError: there will be no more frames unless the device is opened again.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the device back, however far `open` came; may be called more than once."""
