from __future__ import annotations

import os
import signal

import pytest

from benchmarks.processes import Failure, each
from edge_runtime.errors import BoxError


def work(number: int) -> tuple[int, int]:
    """Fails in every way that there is."""
    if number == 1:
        raise BoxError("is empty", where="here")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        raise ValueError("surprise")
    return number, os.getpid()


def test_every_piece_has_a_process_and_fails_alone() -> None:
    results = dict(each(work, range(5), jobs=2))
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert results[1] == Failure("here: is empty")
    assert results[2] == Failure("its process was killed by SIGKILL")
    surprise = results[3]
    assert isinstance(surprise, Failure)
    assert surprise.line == "ValueError: surprise"
    assert "in work" in surprise.trace
    processes = set()
    for number in (0, 4):
        result = results[number]
        assert not isinstance(result, Failure)
        assert result[0] == number
        processes.add(result[1])
    assert len(processes | {os.getpid()}) == 3


@pytest.mark.parametrize("jobs", [0, 1])
def test_no_work(jobs: int) -> None:
    assert list(each(work, [], jobs)) == []


def test_work_in_this_process() -> None:
    results = dict(each(work, [0, 1], jobs=0))
    assert results == {0: (0, os.getpid()), 1: Failure("here: is empty")}
