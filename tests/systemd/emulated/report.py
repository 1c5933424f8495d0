"""What was checked, and how long each step took."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any


class Report:
    """Steps, said as they end, and all of them as JSON."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._steps: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """One step; what is put into the dictionary is measured or seen in it. Raises what it raises."""
        facts: dict[str, Any] = {}
        start_s, good = time.monotonic(), False
        try:
            yield facts
            good = True
        finally:
            seconds = round(time.monotonic() - start_s, 1)
            self._steps.append({"step": name, "good": good, "seconds": seconds} | facts)
            shown = ", ".join(f"{key} {value}" for key, value in facts.items())
            say(f"{'ok' if good else 'FAILED'}: {name} ({seconds} s){': ' if shown else ''}{shown}")

    def json(self) -> str:
        """One object on one line."""
        return json.dumps({"seconds": round(time.monotonic() - self._start_s, 1), "steps": self._steps})


def say(text: str) -> None:
    """A line, or several, at once."""
    sys.stdout.write(f"{text.rstrip()}\n")
    sys.stdout.flush()


def excerpt(title: str, text: str) -> None:
    """What a person would have seen."""
    say(f"--- {title}\n{text.rstrip()}\n---")
