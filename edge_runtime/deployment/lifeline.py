"""Whether whoever started a trial is still there."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from types import FrameType

from edge_runtime.signals import NotedSignals

SILENCE_S = 20.0  # of somebody who sends signs of life every few seconds


class GoneError(Exception):
    """What has happened: a signal, or the end of standard input."""


class Lifeline(NotedSignals):
    """While active, signals that would end the process are noted; `check` raises `GoneError` then.

    Args:
        stdin: whether the end of standard input counts as well: that of an ssh connection. Once something was
            written there, so does silence, since a cable that is pulled out closes nothing.
    """

    SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

    def __init__(self, stdin: bool) -> None:
        self._stdin = stdin
        self._gone: str | None = None
        self._heard_s: float | None = None

    def check(self) -> None:
        """Raise `GoneError` if nobody waits any more."""
        if self._stdin and self._gone is None:
            self._gone = self._lost()
        if self._gone is not None:
            raise GoneError(self._gone)

    def note(self, number: int, frame: FrameType | None) -> None:
        """See `NotedSignals.note`."""
        self._gone = self._gone or f"stopped by {signal.Signals(number).name}"

    def _lost(self) -> str | None:
        now_s = time.monotonic()
        try:
            handle = sys.stdin.fileno()
            while select.select([handle], [], [], 0)[0]:
                if not os.read(handle, 4096):
                    return "the connection was lost"
                self._heard_s = now_s  # what was written is of no matter
        except (OSError, ValueError, AttributeError):  # closed
            return "the connection was lost"
        if self._heard_s is not None and now_s - self._heard_s > SILENCE_S:
            return f"the connection has been silent for {SILENCE_S:g} s"
        return None
