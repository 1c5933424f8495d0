"""Work in parallel, each piece in a process of its own: peak memory is then the piece's, and a process
that the system kills loses only its piece."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from edge_runtime.errors import CfvggError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why a piece has no result: one line, and the traceback unless the line says it all."""

    line: str
    trace: str = ""


def each(
    work: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Results of `work` in the order in which they are ready.

    Args:
        work: picklable; called once for each item.
        items: picklable.
        jobs: number of processes at a time; 0 works in this process instead.
    """
    if jobs == 0:
        yield from ((item, _attempt(work, item)) for item in items)
        return
    todo = iter(items)
    running: dict[Any, tuple[SpawnProcess, Item]] = {}
    try:
        while True:
            while len(running) < jobs and (item := next(todo, None)) is not None:
                receiver, process = _start(work, item)
                running[receiver] = (process, item)
            if not running:
                return
            for receiver in wait(list(running)):
                process, item = running.pop(receiver)
                yield item, _outcome(receiver, process)
    finally:
        for process, _ in running.values():
            process.terminate()


def _start(work: Callable[[Item], Result], item: Item) -> tuple[Any, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, work, item), daemon=True)
    process.start()
    sender.close()  # so that the end of the process ends the pipe
    return receiver, process


def _outcome(receiver: Any, process: SpawnProcess) -> Any:
    try:
        result = receiver.recv()
        process.join()
    except EOFError:
        process.join()
        code = process.exitcode or 0
        reason = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        result = Failure(f"its process {reason}")
    receiver.close()
    return result


def _child(sender: Connection, work: Callable[[Item], Result], item: Item) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us decides
    sender.send(_attempt(work, item))
    sender.close()


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | Failure:
    try:
        return work(item)
    except CfvggError as error:
        return Failure(str(error))
    except Exception as error:  # one piece must not end the others
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
