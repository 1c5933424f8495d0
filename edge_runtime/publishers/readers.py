"""Track records on a unix socket, for any process of this machine that wants to read along."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.log_limit import LimitedLog
from edge_runtime.publishers.base import encoded
from edge_runtime.publishers.settings import SocketConfig
from edge_runtime.records import TrackRecord
from edge_runtime.unix_socket import listen, stop_listening

CLOSE_S = 0.5

logger = logging.getLogger(__name__)


@dataclass
class Reader:
    """One connection, and what of a line that was begun is still to be sent."""

    socket: socket.socket
    rest: bytes = b""


class SocketPublisher:
    """JSON lines to every reader of a unix socket, each from the record after it connected.

    Nothing here waits: the kernel's buffer of a connection is the reader's queue, and a record that does
    not fit is lost to that reader. `sent` and `dropped` count records times readers.

    Args:
        path: of the socket.
        config: how many readers, and the size of the buffers.

    Raises:
        StorageError: another process listens there, or it is no place for a socket.
    """

    name = "socket"

    def __init__(self, path: Path, config: SocketConfig) -> None:
        self.sent = self.dropped = 0
        self._config = config
        self._readers: list[Reader] = []
        self._log = LimitedLog(logger)
        self._listener = listen(path)
        self._listener.setblocking(False)

    def publish(self, record: TrackRecord) -> None:
        """Send a line to every reader, those that have just connected included."""
        line = encoded(record) + b"\n"
        # Those that left make room before new ones come.
        self._readers = [reader for reader in self._readers if self._send(reader, line)]
        while (reader := self._accept()) is not None:
            if self._send(reader, line):
                self._readers.append(reader)

    def close(self) -> None:
        """End every reader's stream after a whole line, unless it does not read for half a second."""
        stop_listening(self._listener)
        deadline_s = time.monotonic() + CLOSE_S
        for reader in self._readers:
            if reader.rest:
                with contextlib.suppress(OSError):
                    reader.socket.settimeout(max(1e-3, deadline_s - time.monotonic()))
                    reader.socket.sendall(reader.rest)
            reader.socket.close()
        self._readers = []

    def _accept(self) -> Reader | None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                self._log.warning(f"{self.name}: a reader cannot be accepted ({error.strerror or error})")
                return None
            if len(self._readers) < self._config.max_readers:
                break
            connection.close()
            most = self._config.max_readers
            self._log.warning(f"{self.name}: more than {most} readers, one is turned away")
        connection.setblocking(False)
        # Linux doubles the number for its own book-keeping, which takes about half.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._config.buffer_kib * 1024)
        # What readers write is never read: let them know.
        connection.shutdown(socket.SHUT_RD)
        return Reader(connection)

    def _send(self, reader: Reader, line: bytes) -> bool:
        """Send what fits; False when the reader has gone."""
        try:
            if reader.rest:
                reader.rest = reader.rest[_sent(reader.socket, reader.rest) :]
            count = 0 if reader.rest else _sent(reader.socket, line)
        except OSError:
            reader.socket.close()
            return False
        if count:
            reader.rest = line[count:]
            self.sent += 1
        else:
            self.dropped += 1
            self._log.warning(f"{self.name}: a reader is too slow and loses records")
        return True


def _sent(connection: socket.socket, data: bytes) -> int:
    """How many bytes fit into the connection's buffer."""
    try:
        return connection.send(data)
    except BlockingIOError:
        return 0
