"""What every frame source does the same way: numbering, time stamps, and one frame size throughout."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from edge_runtime.errors import SourceError
from edge_runtime.types import Frame


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """One frame and when it was taken.

    Attributes:
        image: uint8 (rows, columns, 3), BGR.
        index: number of the frame in its source, from 0.
        t_monotonic_ns: `time.monotonic_ns()` when the frame became available.
        t_unix: wall-clock seconds when it was taken; None for recordings, whose files do not tell.
    """

    image: Frame
    index: int
    t_monotonic_ns: int
    t_unix: float | None


class FrameSource(ABC):
    """A context manager that is iterated once for its `CapturedFrame`s.

    Opening and iterating raise `SourceError` on anything that cannot be read, decoded, or whose
    size changes.

    Attributes:
        uri: what was opened, for messages and summaries.
        frame_size: (width, height) in pixels.
        frame_rate_hz: nominal rate, or None when the source has none.
        frame_count: number of frames, or None when unknown.
    """

    uri: str
    frame_size: tuple[int, int]
    frame_rate_hz: float | None
    frame_count: int | None

    live = False

    _live = False

    @abstractmethod
    def _images(self) -> Iterator[Frame]:
        """The images in order."""

    def close(self) -> None:  # noqa: B027 (most sources hold nothing)
        """Give everything back; may be called more than once."""

    def __iter__(self) -> Iterator[CapturedFrame]:
        for index, image in enumerate(self._images()):
            size = (image.shape[1], image.shape[0])
            if size != self.frame_size:
                raise SourceError(
                    f"frame {index} is {size[0]}x{size[1]}, the first was "
                    f"{self.frame_size[0]}x{self.frame_size[1]}",
                    where=self.uri,
                    fix="give frames of one size",
                )
            yield CapturedFrame(image, index, time.monotonic_ns(), time.time() if self._live else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
