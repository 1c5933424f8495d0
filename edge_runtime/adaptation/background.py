"""Adaptation beside the tracker: a process that trains, and the thread that waits for it.

The process may be killed, hang or crash; all that the tracker sees is that no new network comes. It is a new
Python, not a fork (which would share the camera and the sockets) and not `multiprocessing`'s (which would run
the user's main program again where that has no guard): so it may have one thread for linear algebra, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.adaptation.model import AdaptableNetwork
from edge_runtime.adaptation.settings import AdaptConfig
from edge_runtime.adaptation.trainer import Outcome, adapt
from edge_runtime.bundle import Bundle
from edge_runtime.errors import CfvggError
from edge_runtime.types import Box, Frame

log = logging.getLogger(__name__)

ENTRY = f"from {__name__} import serve; serve()"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KILL_FIRST = b"1000"  # where memory runs out, this process goes, not the tracker


@dataclass(frozen=True)
class Request:
    """What a worker needs; the bundle as it was read, since the folder may hold another one by now."""

    frame: Frame
    box: Box
    bundle: Bundle
    dtype: str
    config: AdaptConfig
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Adapted:
    """A new model, and how it came about.

    Attributes:
        model: its flatbuffer; None if the old one stays.
        outcome: of the training.
        seconds: of wall time.
    """

    model: bytes | None
    outcome: Outcome
    seconds: float


Worker = Callable[[Request], Adapted]


class WorkerError(Exception):
    """No result: the worker failed, was killed or took too long."""


def train(request: Request) -> Adapted:
    """Adapt here and now."""
    start_s = time.monotonic()
    network = AdaptableNetwork(request.bundle, request.dtype, request.config.layers, request.levels)
    outcome = adapt(request.frame, request.box, network, request.config)
    model = network.patched(outcome.weights) if outcome.weights is not None else None
    return Adapted(model, outcome, time.monotonic() - start_s)


class BackgroundTask:
    """Trains in a process of its own, then calls `done` in a thread of its own, of low priority too.

    Args:
        request: what to train.
        done: gets the result, or the reason why there is none. Not called after `cancel`.
        worker: runs in the process; importable.
    """

    def __init__(
        self, request: Request, done: Callable[[Adapted | WorkerError], None], worker: Worker = train
    ) -> None:
        self._request, self._done, self._worker = request, done, worker
        self._lock, self._cancelled = threading.Lock(), False
        self._process: subprocess.Popen[bytes] | None = None
        # Starting a process writes the request to it and waits for it to be read: not the tracker's time.
        self._thread = threading.Thread(target=self._run, name="adaptation", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Of the process, once it has started."""
        return self._process.pid if self._process is not None else None

    def cancel(self) -> None:
        """Kill the process; `done` will not be called any more. Returns at once."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether everything has come to its end, `done` included, within that time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        # Of this thread, and so of the process that it starts.
        lower_priority(self._request.config.nice)
        leave_core(self._request.config.cpu)
        result: Adapted | WorkerError
        try:
            result = self._result()
        except WorkerError as error:
            result = error
        except OSError as error:  # no memory, no process
            result = WorkerError(f"cannot be started ({error.strerror})")
        except Exception as error:  # whatever it is, the tracker must hear that nothing comes
            result = WorkerError(f"{type(error).__name__}: {error}")
        with self._lock:
            if self._cancelled:
                return
        self._done(result)

    def _result(self) -> Adapted:
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", ENTRY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
        )
        with self._lock:
            self._process = process
            if self._cancelled:
                process.kill()
        timeout_s = self._request.config.timeout_s
        try:
            output, errors = process.communicate(pickle.dumps((self._worker, self._request)), timeout_s)
        except subprocess.TimeoutExpired as error:
            raise WorkerError(f"took more than {timeout_s:g} s") from error
        finally:
            process.kill()
            process.communicate()
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise WorkerError(
                f"ended without a result (exit code {process.returncode}{': ' if last else ''}{last:.200})"
            )
        answer = pickle.loads(output)  # our own process wrote it
        if isinstance(answer, str):
            raise WorkerError(answer)
        assert isinstance(answer, Adapted)
        return answer


def serve() -> None:
    """In the process: from a request on standard input to an answer, or why there is none, on the output."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(KILL_FIRST)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # what a library prints is no answer
        import cv2  # noqa: PLC0415 (the answer's channel comes first)

        cv2.setNumThreads(1)
        worker, request = pickle.load(sys.stdin.buffer)  # from the tracker that started this
        try:
            answer: Adapted | str = worker(request)
        except CfvggError as error:
            answer = str(error)
        pickle.dump(answer, out)


def lower_priority(nice: int) -> None:
    """Of the calling thread (Linux: threads have their own), which is no real-time one from now on."""
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        if hasattr(os, "sched_setscheduler"):
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, nice)


def leave_core(cpu: int) -> None:
    """Run the calling thread on a core, or (-1) on those that it may not use so far, if there are any."""
    if not hasattr(os, "sched_setaffinity"):
        return
    so_far = os.sched_getaffinity(0)
    everywhere = set(range(os.cpu_count() or 1))
    wanted = {cpu} if cpu >= 0 else everywhere - so_far or so_far
    try:
        os.sched_setaffinity(0, wanted)
    except OSError:  # not this core, or not allowed
        log.warning("adaptation cannot run on core %s; it runs where the tracker does", sorted(wanted))
