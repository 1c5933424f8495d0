"""One connection to the preview: lines come in, parts go out, and neither ever waits."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections import deque

from edge_runtime.errors import ServiceError
from edge_runtime.preview.pictures import Rendition
from edge_runtime.preview.stream import BOUNDARY, MOST_LINE_BYTES

# A picture or two; what the kernel holds is old by the time that a slow watcher reads it.
SEND_BUFFER_BYTES = 1 << 16
# Of answers that a watcher does not read; its commands wait then.
MOST_PENDING_BYTES = 1 << 20
# A watcher that reports what it has received is never more pictures behind: ssh alone would hold megabytes of
# old pictures for a slow network.
MOST_AHEAD = 2


class Watcher:
    """A watcher that may be slow: it skips pictures.

    Args:
        connection: just accepted; the watcher owns it.
        now_s: monotonic time.

    Attributes:
        rendition: what it wants; None until its first line has come.
    """

    def __init__(self, connection: socket.socket, now_s: float) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.connection = connection
        self.rendition: Rendition | None = None
        self._received = bytearray()
        self._pending = memoryview(b"")
        self._ahead: deque[int] = deque(maxlen=1024)
        self._reports = False
        self._moved_s = now_s
        self.send(BOUNDARY, now_s)

    @property
    def ready(self) -> bool:
        """Whether the next picture may be sent."""
        return self.rendition is not None and not self._pending and not self._far_behind

    @property
    def events(self) -> int:
        """What to wait for."""
        reading = selectors.EVENT_READ if len(self._pending) < MOST_PENDING_BYTES else 0
        return reading | (selectors.EVENT_WRITE if self._pending else 0)

    def stalled_s(self, now_s: float) -> float:
        """For how long it has taken nothing, or not said what it wants; 0 if nothing is due from it."""
        due = self._pending or self._far_behind or self.rendition is None
        return now_s - self._moved_s if due else 0.0

    def lines(self) -> list[bytes]:
        """Lines that are complete now, without their ends.

        Raises:
            ServiceError: a line is too long.
            OSError: the other end has gone.
        """
        try:
            data = self.connection.recv(4 * MOST_LINE_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise ConnectionResetError
        *lines, rest = (self._received + data).split(b"\n")
        self._received = rest
        if max(map(len, [*lines, rest])) > MOST_LINE_BYTES:
            raise ServiceError(f"a line is longer than {MOST_LINE_BYTES} bytes")
        return [bytes(line) for line in lines]

    def show(self, part: bytes, frame: int, now_s: float) -> None:
        """Send the picture of a frame. Raises OSError if the other end has gone."""
        self._ahead.append(frame)
        self.send(part, now_s)

    def report(self, frame: object) -> None:
        """The watcher has received the picture of `frame`."""
        self._reports = True
        if frame in self._ahead:
            while self._ahead.popleft() != frame:
                pass

    def send(self, data: bytes, now_s: float) -> None:
        """Send what can be sent now and keep the rest. Raises OSError if the other end has gone."""
        if not self._pending:
            self._moved_s = now_s
        self._pending = memoryview(bytes(self._pending) + data)
        self.flush(now_s)

    def flush(self, now_s: float) -> None:
        """Go on sending. Raises OSError if the other end has gone."""
        while self._pending:
            try:
                sent = self.connection.send(self._pending)
            except BlockingIOError:
                return
            self._pending = self._pending[sent:]
            self._moved_s = now_s

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.connection.close()

    @property
    def _far_behind(self) -> bool:
        return self._reports and len(self._ahead) >= MOST_AHEAD
