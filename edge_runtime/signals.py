"""Signals that end a process, noted instead while something is finished."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from collections.abc import Collection
from types import FrameType, TracebackType
from typing import ClassVar, Self


class NotedSignals(ABC):
    """While active, `note` is called for each of `SIGNALS`; the handlers before are put back at the end."""

    SIGNALS: ClassVar[Collection[signal.Signals]]

    @abstractmethod
    def note(self, number: int, frame: FrameType | None) -> None:
        """A signal has come; called in the main thread."""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self.note) for number in self.SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
