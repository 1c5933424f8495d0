from __future__ import annotations

import itertools
import threading
import time

import pytest

from edge_runtime.publishers import close_publishers
from edge_runtime.publishers.base import Rate
from edge_runtime.publishers.queued import CLOSE_S, Queued
from tests.edge.publishing import FAILURE, ScriptedSink, messages, record, wait_for

SLACK_S = 2.0  # for what takes milliseconds on an idle machine


def test_records_come_singly_and_in_order() -> None:
    sink = ScriptedSink()
    publisher = Queued(sink)
    for frame in range(500):
        publisher.publish(record(frame))
    publisher.close()
    assert sink.batches == [[frame] for frame in range(500)]
    assert (publisher.name, publisher.sent, publisher.dropped, sink.closed) == ("scripted", 500, 0, True)


def test_records_are_collected_for_a_while() -> None:
    sink = ScriptedSink()
    publisher = Queued(sink, every_s=0.2)
    for frame in range(300):
        publisher.publish(record(frame))
    wait_for(lambda: publisher.sent == 300)
    publisher.close()
    assert sink.frames == list(range(300))
    assert len(sink.batches) <= 4


def test_a_sink_that_hangs_costs_the_loop_nothing_and_the_oldest_records() -> None:
    sink = ScriptedSink()
    publisher = Queued(sink, queue_records=100)
    sink.free.clear()
    publisher.publish(record(0))
    wait_for(lambda: sink.attempts == 1)
    longest_s = 0.0
    for frame in range(1, 5001):
        start_s = time.perf_counter()
        publisher.publish(record(frame))
        longest_s = max(longest_s, time.perf_counter() - start_s)
    assert longest_s < 0.5
    assert publisher.dropped == 4900
    sink.free.set()
    wait_for(lambda: publisher.sent == 101)
    assert sink.frames == [0, *range(4901, 5001)]
    publisher.close()
    assert publisher.sent + publisher.dropped == 5001


def test_a_sink_that_hangs_holds_the_end_up_for_a_second_and_is_counted_out() -> None:
    sink = ScriptedSink()
    publisher = Queued(sink)
    sink.free.clear()
    for frame in range(10):
        publisher.publish(record(frame))
    wait_for(lambda: sink.attempts == 1)
    start_s = time.monotonic()
    publisher.close()
    assert CLOSE_S * 0.9 < time.monotonic() - start_s < CLOSE_S + SLACK_S
    assert (publisher.sent, publisher.dropped) == (0, 10)
    publisher.publish(record(10))
    publisher.close()
    assert publisher.dropped == 11
    sink.free.set()


def test_several_dead_consumers_hold_the_end_up_together() -> None:
    sinks = [ScriptedSink() for _ in range(6)]
    publishers = [Queued(sink) for sink in sinks]
    for sink, publisher in zip(sinks, publishers, strict=True):
        sink.free.clear()
        publisher.publish(record(0))
    start_s = time.monotonic()
    close_publishers(publishers)
    assert time.monotonic() - start_s < CLOSE_S + SLACK_S
    assert [publisher.dropped for publisher in publishers] == [1] * 6
    for sink in sinks:
        sink.free.set()


def test_a_sink_that_fails_is_offered_the_same_again(caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    sink.error = FAILURE
    publisher = Queued(sink)
    for frame in range(20):
        publisher.publish(record(frame))
    wait_for(lambda: sink.attempts >= 3)
    assert (publisher.sent, publisher.dropped) == (0, 0)
    sink.error = None
    assert wait_for(lambda: publisher.sent == 20) < 20  # the longest pause is two seconds
    publisher.close()
    assert sink.frames == list(range(20))
    assert publisher.dropped == 0
    # However often it failed, once is enough to say so.
    assert messages(caplog) == [f"scripted: {FAILURE}"]


def test_the_pause_after_failures_grows_and_ends_with_the_run() -> None:
    sink = ScriptedSink()
    sink.error = FAILURE
    publisher = Queued(sink)
    publisher.publish(record(0))
    start_s = time.monotonic()
    wait_for(lambda: sink.attempts == 4)
    # 0.1, 0.2 and 0.4 s.
    assert time.monotonic() - start_s > 0.6
    start_s = time.monotonic()
    publisher.close()
    assert time.monotonic() - start_s < SLACK_S
    assert (publisher.sent, publisher.dropped, sink.closed) == (0, 1, True)
    # It was tried a last time.
    assert sink.attempts == 5


def test_a_failing_sink_with_a_full_queue_keeps_the_newest_in_order() -> None:
    sink = ScriptedSink()
    sink.error = FAILURE
    publisher = Queued(sink, queue_records=50, every_s=0.01)
    for frame in range(500):
        publisher.publish(record(frame))
        time.sleep(0.0005)
    wait_for(lambda: sink.attempts >= 2)
    sink.error = None
    wait_for(lambda: publisher.sent + publisher.dropped == 500)
    publisher.close()
    assert (publisher.sent, publisher.dropped) == (50, 450)
    assert sink.frames == list(range(450, 500))


def test_a_bug_in_a_sink_takes_its_records_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    sink = ScriptedSink()
    sink.error = RuntimeError("a bug")
    publisher = Queued(sink)
    publisher.publish(record(0))
    wait_for(lambda: publisher.dropped == 1)
    sink.error = None
    publisher.publish(record(1))
    publisher.close()
    assert (publisher.sent, publisher.dropped) == (1, 1)
    assert messages(caplog) == ["scripted: 1 records are lost"]


def test_threads_end_with_their_publishers() -> None:
    before = threading.active_count()
    publishers = [Queued(ScriptedSink()) for _ in range(5)]
    assert threading.active_count() == before + 5
    close_publishers(publishers)
    assert threading.active_count() == before


@pytest.mark.parametrize(("rate_hz", "expected"), [(0.0, 300), (30.0, 300), (10.0, 100), (1.0, 10), (0.1, 1)])
def test_a_rate_is_kept_despite_jitter(rate_hz: float, expected: int) -> None:
    rate = Rate(rate_hz)
    jitter_ns = [(-1) ** n * (n * 7919 % 3_000_000) for n in range(300)]
    through = [n for n in range(300) if rate.due(record(n, t_ns=10**9 + n * 33_333_333 + jitter_ns[n]))]
    # At the camera's own rate, a frame that comes early waits for the next; one in two is the worst.
    assert expected * 0.5 <= len(through) <= expected
    if 0 < rate_hz <= 10:
        assert len(through) >= expected * 0.9


def test_all_targets_of_a_frame_go_through_together() -> None:
    rate = Rate(10.0)
    through = [(n, i) for n in range(30) for i in (1, 2, 3) if rate.due(record(n, track_id=i))]
    assert len(through) == 3 * len({n for n, _ in through}) == 30


@pytest.mark.parametrize("jump_s", [-1000, -1, 1000])
def test_a_rate_survives_a_clock_that_jumps(jump_s: int) -> None:
    rate = Rate(10.0)
    times_ns = [10**13 + n * 33_333_333 for n in range(30)]
    times_ns += [t + 30 * 33_333_333 + jump_s * 10**9 for t in times_ns]
    through = [n for n, t_ns in enumerate(times_ns) if rate.due(record(n, t_ns=t_ns))]
    assert 18 <= len(through) <= 22
    assert max(b - a for a, b in itertools.pairwise(through)) <= 4
