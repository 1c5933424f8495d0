from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.sources.frame_clock import OLDEST_NS, FrameClock


def stamps(clock: FrameClock, taken_ms: list[int | None], latency_ms: int = 20) -> list[float]:
    """What the clock makes of frames that arrive every 33 ms from 1000 ms on, in ms."""
    arrived = [1000 + 33 * number + latency_ms for number in range(len(taken_ms))]
    return [
        clock.stamp(None if taken is None else taken * 1_000_000, at * 1_000_000) / 1e6
        for taken, at in zip(taken_ms, arrived, strict=True)
    ]


def test_the_devices_time_is_taken_where_it_is_plausible() -> None:
    clock = FrameClock()
    assert stamps(clock, [1000, 1033, 1066]) == [1000, 1033, 1066]
    assert stamps(FrameClock(), [None, None]) == [1020, 1053]
    assert clock.jumps == 0


@pytest.mark.parametrize("wrong_ms", [-3_000, -60, 40, 5_000_000])
def test_one_wrong_stamp_is_replaced_by_the_arrival_and_counted(wrong_ms: int) -> None:
    clock = FrameClock()
    made = stamps(clock, [1000, 1033, 1066 + wrong_ms, 1099, 1132])
    assert clock.jumps == 1
    assert made[:2] == [1000, 1033]
    assert made[2] == 1086
    assert made[3:] == [1099, 1132]


def test_a_device_of_another_clock_counts_as_one_jump() -> None:
    clock = FrameClock()
    wall_ms = 1_700_000_000_000
    assert stamps(clock, [wall_ms + 33 * number for number in range(5)]) == [1020, 1053, 1086, 1119, 1152]
    assert clock.jumps == 1


def test_a_new_opening_may_count_from_elsewhere() -> None:
    clock = FrameClock()
    clock.stamp(5_000_000_000, 5_010_000_000)
    clock.restart()
    assert clock.stamp(4_900_000_000, 5_020_000_000) == 5_000_000_001
    assert clock.jumps == 0


def test_time_rises_whatever_the_device_says() -> None:
    clock, arrived_ns, last_ns = FrameClock(), 10**12, 0
    random = np.random.default_rng(0)
    for _ in range(2000):
        arrived_ns += int(random.integers(1, 10**8))
        taken_ns = arrived_ns + int(random.integers(-2 * OLDEST_NS, OLDEST_NS))
        stamp_ns = clock.stamp(taken_ns if random.random() < 0.8 else None, arrived_ns)
        assert last_ns < stamp_ns <= arrived_ns + 1
        assert arrived_ns - stamp_ns <= OLDEST_NS
        last_ns = stamp_ns
