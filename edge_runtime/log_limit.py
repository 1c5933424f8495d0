"""Messages that may repeat for weeks: the same one at most once a minute, with a count of the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

INTERVAL_S = 60.0
MOST_KEYS = 100  # messages are few; texts that vary without end must not fill the memory


@dataclass
class _Told:
    at_s: float
    left_out: int = 0


class LimitedLog:
    """A logger's messages, each at most once in `interval_s`. May be used from several threads.

    Args:
        logger: where they go.
        interval_s: how long the same message is kept back after it was told.
        clock: seconds that only rise; tests give their own.
    """

    def __init__(
        self,
        logger: logging.Logger,
        interval_s: float = INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._interval_s, self._clock = logger, interval_s, clock
        self._told: dict[str, _Told] = {}
        self._lock = threading.Lock()
        self._trouble = False

    def warning(self, message: str, key: str | None = None) -> None:
        """Tell `message`, unless one with the same `key` (by default, the same text) was told lately."""
        now_s = self._clock()
        with self._lock:
            told = self._told.pop(key or message, None)
            if told is not None and now_s - told.at_s < self._interval_s:
                told.left_out += 1
                self._told[key or message] = told
                return
            self._told[key or message] = _Told(now_s)
            while len(self._told) > MOST_KEYS:
                del self._told[next(iter(self._told))]
            self._trouble = True
        left_out = told.left_out if told else 0
        more = (
            f" ({left_out} more like it in the last {now_s - told.at_s:.0f} s)" if told and left_out else ""
        )
        self._logger.warning("%s%s", message, more)

    def recovered(self, message: str) -> None:
        """Tell, once, that what was warned of is over; nothing if there was no warning."""
        with self._lock:
            trouble, self._trouble = self._trouble, False
        if trouble:
            self._logger.info("%s", message)
