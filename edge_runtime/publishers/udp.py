"""Track records as UDP datagrams, one each."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

from edge_runtime.log_limit import LimitedLog
from edge_runtime.publishers.base import encoded
from edge_runtime.publishers.settings import UdpConfig
from edge_runtime.records import TrackRecord

LOOK_UP_EVERY_S = 5.0

logger = logging.getLogger(__name__)


class UdpSink:
    """Sends datagrams to one address, looked up when it is first needed and after failures.

    Nobody tells whether a datagram arrives. What cannot even be sent is dropped: a datagram that comes
    late is of no use.

    Args:
        config: where to.
    """

    name = "udp"

    def __init__(self, config: UdpConfig) -> None:
        self.sent = self.dropped = 0
        self._config = config
        self._socket: socket.socket | None = None
        self._address: Any = None
        self._look_up_s = -float("inf")
        self._log = LimitedLog(logger)

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        """Send one datagram for each record; may wait for a name to be looked up, never raises."""
        for record in records:
            try:
                sent = self._send(encoded(record))
            except OSError as error:
                sent = False
                self.close()
                where = f"{self._config.host}:{self._config.port}"
                self._log.warning(f"{self.name}: {where}: cannot be sent to ({error.strerror or error})")
            if sent:
                self.sent += 1
                self._log.recovered(f"{self.name}: works again")
            else:
                self.dropped += 1

    def close(self) -> None:
        """Close the socket; the next record looks the address up again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, data: bytes) -> bool:
        """False while a failed address is given time."""
        if self._socket is None:
            if time.monotonic() < self._look_up_s:
                return False
            self._look_up_s = time.monotonic() + LOOK_UP_EVERY_S
            self._socket = self._look_up()
        self._socket.sendto(data, self._address)
        return True

    def _look_up(self) -> socket.socket:
        config = self._config
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, self._address = found[0]
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        return made
