from __future__ import annotations

import logging

import pytest

from edge_runtime.log_limit import MOST_KEYS, LimitedLog


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> LimitedLog:
    caplog.set_level(logging.INFO)
    return LimitedLog(logging.getLogger("edge_runtime.test"), 60, clock)


def test_the_same_message_comes_once_a_minute_with_a_count(
    log: LimitedLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for second in range(0, 130, 10):
        clock.now_s = float(second)
        log.warning("the camera is silent")
    assert caplog.messages == [
        "the camera is silent",
        "the camera is silent (5 more like it in the last 60 s)",
        "the camera is silent (5 more like it in the last 60 s)",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_other_messages_are_not_held_back_and_a_key_makes_them_the_same(
    log: LimitedLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        log.warning(f"frame {number}", key="frame")
        log.warning(f"packet {number}")
    assert caplog.messages == ["frame 0", "packet 0", "packet 1", "packet 2"]


def test_messages_that_vary_without_end_do_not_pile_up(log: LimitedLog) -> None:
    for number in range(3 * MOST_KEYS):
        log.warning(f"{number}")
    assert len(log._told) == MOST_KEYS
