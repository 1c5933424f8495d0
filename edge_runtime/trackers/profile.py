"""Time by stage, for `benchmarks/speed.py` and for whoever asks where the time goes."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import ClassVar


class StageTimes:
    """Sums up wall time per named stage; a stage costs about a microsecond more than without.

    Attributes:
        clock_s: seconds since any moment; a benchmark may set another one, which counts something else.
        total_ms: name to milliseconds so far.
    """

    clock_s: ClassVar[Callable[[], float]] = time.perf_counter

    def __init__(self) -> None:
        self.total_ms: dict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the `with` block in."""
        clock_s = StageTimes.clock_s
        start_s = clock_s()
        try:
            yield
        finally:
            self.total_ms[name] += (clock_s() - start_s) * 1e3
