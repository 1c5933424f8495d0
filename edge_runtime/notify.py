"""What the service tells systemd: ready, alive, stopping. The sd_notify protocol, without a library."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

# Of the watchdog's time; systemd advises a half, a quarter leaves room for a slow frame.
WATCHDOG_SHARE = 4


class Notifier:
    """Speaks to the service manager, and to nobody when there is none; never raises, never waits.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID stand.
        clock_s: monotonic seconds.

    Attributes:
        watchdog_s: after so many seconds without a frame systemd kills the process; None without a watchdog.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_s = _watchdog_s(environment) if self._address else None
        self._clock_s = clock_s
        self._fed_at_s = -float("inf")
        self._socket: socket.socket | None = None
        self._complained = False

    def ready(self, status: str = "") -> None:
        """The service does its work from now on; systemd's watchdog starts."""
        self._send("READY=1", _status(status))

    def frame(self) -> None:
        """A new frame has completed the loop. Call it for nothing else: it is what the watchdog lives on."""
        if self.watchdog_s is None:
            return
        now_s = self._clock_s()
        if now_s - self._fed_at_s >= self.watchdog_s / WATCHDOG_SHARE and self._send("WATCHDOG=1"):
            self._fed_at_s = now_s

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(text))

    def reloading(self) -> None:
        """Settings are being read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The service is ending by itself or because it was asked to."""
        self._send("STOPPING=1", _status(status))

    def _send(self, *assignments: str) -> bool:
        if self._address is None:
            return False
        message = "\n".join(filter(None, assignments)).encode(errors="replace")
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                # systemd may be busy, its queue full: a frame does not wait, the next one says it again.
                self._socket.setblocking(False)
            self._socket.sendto(message, self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                reason = error.strerror or error
                log.warning("systemd cannot be told %s (%s); said once", message.decode(), reason)
            return False
        return True


def _address(text: str) -> str | None:
    """The socket's address; "@" stands for the zero byte of an abstract one."""
    if len(text) < 2 or text[0] not in "/@":
        return None
    return "\0" + text[1:] if text[0] == "@" else text


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    try:
        interval_us = int(environment.get("WATCHDOG_USEC", ""))
        pid = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return interval_us / 1e6 if interval_us > 0 and pid == os.getpid() else None


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}" if text else ""
