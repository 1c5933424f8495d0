"""A publisher for live runs: the loop leaves records in a queue, a thread of its own delivers them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from edge_runtime.errors import CfvggError
from edge_runtime.log_limit import LimitedLog
from edge_runtime.publishers.base import Sink
from edge_runtime.records import TrackRecord

QUEUE_RECORDS = 1024  # half a minute at 30 Hz, about half a megabyte
BATCH_RECORDS = 256
CLOSE_S = 1.0
RETRY_FIRST_S, RETRY_MOST_S = 0.1, 2.0

logger = logging.getLogger(__name__)


class Queued:
    """Stands between the loop and a sink that may be slow or dead: `publish` never waits or raises.

    When the queue is full, its oldest record is dropped. A batch that the sink refuses is offered
    again after a pause that grows from 0.1 to 2 s.

    Args:
        sink: receives the records, on this publisher's own thread.
        wanted: asked on the loop's thread whether a record is for the sink at all; None means always.
        queue_records: how many may wait.
        every_s: records are collected so long and delivered together; 0 delivers each at once, singly.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        wanted: Callable[[TrackRecord], bool] | None = None,
        queue_records: int = QUEUE_RECORDS,
        every_s: float = 0.0,
    ) -> None:
        self.name = sink.name
        self._sink, self._wanted, self._every_s = sink, wanted, every_s
        self._queue: deque[TrackRecord] = deque()
        self._queue_records = queue_records
        self._changed = threading.Condition(threading.Lock())
        self._closing_s: float | None = None
        self._lost = self._in_flight = 0
        self._log = LimitedLog(logger)
        # A daemon: what hangs in a dead consumer must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"publish-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Records delivered so far."""
        return self._sink.sent

    @property
    def dropped(self) -> int:
        """Records lost so far, to the full queue or in the sink."""
        return self._lost + self._sink.dropped

    def publish(self, record: TrackRecord) -> None:
        """Leave one record in the queue; never waits for the sink."""
        if self._wanted is not None and not self._wanted(record):
            return
        with self._changed:
            if self._closing_s is not None:
                self._lost += 1
                return
            if len(self._queue) >= self._queue_records:
                self._queue.popleft()
                self._lost += 1
            self._queue.append(record)
            # Batches are collected by the clock: waking the thread for each record would cost more.
            if not self._every_s:
                self._changed.notify()

    def finish(self) -> None:
        """Begin to close without waiting: what is queued is offered once more."""
        with self._changed:
            if self._closing_s is None:
                self._closing_s = time.monotonic()
                self._changed.notify()

    def close(self) -> None:
        """Finish, and wait for it until a second after it began; what then is left counts as dropped."""
        self.finish()
        assert self._closing_s is not None
        self._thread.join(max(0.0, self._closing_s + CLOSE_S - time.monotonic()))
        with self._changed:
            self._lost += len(self._queue) + self._in_flight
            self._queue.clear()
            self._in_flight = 0

    def _run(self) -> None:
        pause_s = 0.0
        while self._wait(pause_s or self._every_s):
            pause_s = self._deliver(pause_s)
        try:
            self._deliver(0.0)
            self._sink.close()
        except Exception:
            logger.exception("%s: cannot be closed", self.name)

    def _wait(self, pause_s: float) -> bool:
        """Until there is something to do after a pause; False when it is time to end."""
        with self._changed:
            if pause_s:
                self._changed.wait_for(lambda: self._closing_s is not None, pause_s)
            else:
                self._changed.wait_for(lambda: self._queue or self._closing_s is not None)
            return self._closing_s is None

    def _deliver(self, pause_s: float) -> float:
        """Offer everything that is queued; returns how long to wait before the next attempt."""
        while batch := self._take():
            try:
                self._sink.deliver(batch)
            except CfvggError as error:
                self._put_back(batch)
                # The first failure is often only that a connection is still being made.
                if pause_s:
                    self._log.warning(f"{self.name}: {error}")
                return min(max(2 * pause_s, RETRY_FIRST_S), RETRY_MOST_S)
            except Exception:
                # A bug in one publisher takes its records, not the run.
                self._settle(lost=len(batch))
                logger.exception("%s: %d records are lost", self.name, len(batch))
                return RETRY_MOST_S
            self._settle()
            self._log.recovered(f"{self.name}: works again")
        return 0.0

    def _take(self) -> list[TrackRecord]:
        with self._changed:
            count = min(len(self._queue), BATCH_RECORDS if self._every_s else 1)
            self._in_flight = count
            return [self._queue.popleft() for _ in range(count)]

    def _settle(self, lost: int = 0) -> None:
        with self._changed:
            self._in_flight = 0
            self._lost += lost

    def _put_back(self, batch: list[TrackRecord]) -> None:
        with self._changed:
            if not self._in_flight:
                return  # `close` has given up waiting, and counted these
            self._in_flight = 0
            kept = batch[max(0, len(batch) + len(self._queue) - self._queue_records) :]
            self._lost += len(batch) - len(kept)
            self._queue.extendleft(reversed(kept))
