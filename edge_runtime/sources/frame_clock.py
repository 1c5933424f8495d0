"""When a frame was taken, from a device whose word is checked."""

from __future__ import annotations

# A frame is not longer on its way, even in a driver's queue while we stood still: its stamp is of another
# clock.
OLDEST_NS = 10_000_000_000
TOLERANCE_NS = 1_000_000


class FrameClock:
    """Time stamps that rise, from the device where plausible.

    Attributes:
        jumps: how often the device's stamps stopped being plausible.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._last_ns = 0
        self._last_taken_ns = 0
        self._trusted = True

    def restart(self) -> None:
        """The device was opened again and may count from elsewhere."""
        self._last_taken_ns = 0

    def stamp(self, taken_ns: int | None, arrived_ns: int) -> int:
        """The time of a frame, in nanoseconds of `time.monotonic_ns()`.

        Args:
            taken_ns: what the device says, or None.
            arrived_ns: when the frame was in our hands.
        """
        stamp_ns = arrived_ns
        if taken_ns is not None:
            plausible = (
                self._last_taken_ns < taken_ns
                and arrived_ns - OLDEST_NS <= taken_ns <= arrived_ns + TOLERANCE_NS
            )
            self.jumps += self._trusted and not plausible
            self._trusted = plausible
            if plausible:
                self._last_taken_ns = taken_ns
                stamp_ns = min(taken_ns, arrived_ns)
        # After a frame that went by its arrival, the next one's stamp may be earlier.
        self._last_ns = max(stamp_ns, self._last_ns + 1)
        return self._last_ns
