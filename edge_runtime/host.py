"""What the machine says about itself: its name, whether its clock is set, whether it is throttled."""

from __future__ import annotations

import ctypes
import gc
import socket
import time
from dataclasses import dataclass
from pathlib import Path

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # malloc.h
FRAME_BYTES = 1 << 18  # what is as large may be a frame
TIME_ERROR = 5  # adjtimex(2): the kernel clock is not synchronised
TIMEX_BYTES = 256  # struct timex takes 208 on 64-bit Linux


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A value is None when the machine does not tell.

    Attributes:
        clock_synced: whether the wall clock is synchronised with a time server.
        throttled: the Raspberry Pi firmware's bits; 0 is healthy. Now: 0 undervoltage, 1 frequency
            capped, 2 throttled, 3 soft temperature limit; bits 16 to 19 the same since start-up.
        temperature_celsius: of the processor.
    """

    clock_synced: bool | None
    throttled: int | None
    temperature_celsius: float | None = None


class Host:
    """Reads `HostStatus`, at most once in `refresh_s` seconds.

    Args:
        refresh_s: how long a reading is kept.
        root: where the file system starts; tests give a made-up one.
    """

    def __init__(self, refresh_s: float = 5.0, root: Path = Path("/")) -> None:
        self.refresh_s, self.root = refresh_s, root
        self._read_at_s = -float("inf")
        self._status = HostStatus(None, None)

    def status(self) -> HostStatus:
        """The latest reading."""
        now_s = time.monotonic()
        if now_s - self._read_at_s >= self.refresh_s:
            self._read_at_s = now_s
            self._status = HostStatus(self._clock_synced(), self._throttled(), self._temperature())
        return self._status

    def _clock_synced(self) -> bool | None:
        # A hardened service may not call adjtimex, but can see timesyncd's mark.
        if (self.root / "run/systemd/timesync/synchronized").exists():
            return True
        return kernel_clock_synced()

    def _throttled(self) -> int | None:
        for path in sorted(self.root.glob("sys/devices/platform/soc*/*firmware/get_throttled")):
            try:
                return int(path.read_text(), 16)
            except (OSError, ValueError):
                continue
        return None

    def _temperature(self) -> float | None:
        for path in sorted(self.root.glob("sys/class/thermal/thermal_zone*/temp")):
            try:
                return int(path.read_text()) / 1000
            except (OSError, ValueError):
                continue
        return None


def kernel_clock_synced() -> bool | None:
    """What adjtimex(2) answers; None where it is not there or not allowed."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjtimex is None:
        return None
    state = adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))  # all zero: read only
    return None if state < 0 else state != TIME_ERROR


def host_name() -> str:
    """The name that stands in records when the configuration gives none."""
    return socket.gethostname() or "unnamed"


def keep_memory_small() -> None:
    """Tell the allocator to keep little of what was freed (mallopt(3)); to be called before threads start.

    It would give each thread an arena, up to eight a core, and each keeps what it once needed: the threads
    of a camera that is opened again and of viewers who come and go made a service grow for hours. They share
    one. And it would soon take frames from the heap, where they leave holes that smaller things then split.
    They come from the system and go back to it. Nothing happens where the C library has no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, FRAME_BYTES)


def settle_memory() -> None:
    """Leave what is there now, the program itself, out of every later search for cycles: it stays anyway."""
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Free what only cycles hold, and give free memory back to the system (malloc_trim(3)); 2 to 4 ms.

    Python looks for old cycles when a quarter as many objects as there are have become old: in a service that
    is hours, in which a frame that an exception came by may stay. And the allocator keeps what was freed:
    pictures, and networks and filters of ever new sizes leave holes (docs/measurements.md). Where the C
    library has no such call, that part is left out.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
