"""`cfvgg-edge preview --stdout`: bytes between the service's socket and this process's standard streams.

This is what runs at the far end of ssh. It understands nothing of what it carries, holds at most one piece
each way, and ends when either side does.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_runtime.errors import ServiceError
from edge_runtime.preview.stream import line
from edge_runtime.unix_socket import connect

CONNECT_TIMEOUT_S = 5.0
# What a pipe takes without waiting once poll(2) calls it writable (PIPE_BUF).
PIECE_BYTES = 4096
LEFT = select.POLLERR | select.POLLHUP | select.POLLNVAL


def relay(path: Path, request: Mapping[str, Any], stdin: int = 0, stdout: int = 1) -> None:
    """Ask for pictures, then carry bytes until standard input ends or the reader of standard output goes.

    Args:
        path: of the service's socket.
        request: what is wanted, see `Rendition`.
        stdin, stdout: file descriptors.

    Raises:
        ServiceError: the service does not run, denies access, or hangs up.
    """
    with connect(path, CONNECT_TIMEOUT_S) as service:
        service.sendall(line(request))
        service.setblocking(False)
        _Relay(service, stdin, stdout).run()


def hung_up() -> ServiceError:
    """What a client says when the service ends the connection."""
    return ServiceError("the service closed the preview", fix="see why: journalctl -u cfvgg-edge")


class _Relay:
    def __init__(self, service: socket.socket, stdin: int, stdout: int) -> None:
        self._service, self._stdin, self._stdout = service, stdin, stdout
        self._inward = b""  # on its way to the service
        self._outward = b""  # on its way to standard output

    def run(self) -> None:
        while True:
            ready = self._wait()
            if ready.get(self._stdout, 0) & LEFT:
                return
            if ready.get(self._stdout, 0) & select.POLLOUT and not self._write():
                return
            if self._stdin in ready and not self._read():
                return
            service = ready.get(self._service.fileno(), 0)
            if service:
                self._exchange(service)

    def _wait(self) -> dict[int, int]:
        """File descriptors that something can be done about. Standard input may be standard output."""
        wanted: dict[int, int] = {self._stdout: select.POLLOUT if self._outward else 0}
        if not self._inward:
            wanted[self._stdin] = wanted.get(self._stdin, 0) | select.POLLIN
        towards = (0 if self._outward else select.POLLIN) | (select.POLLOUT if self._inward else 0)
        wanted[self._service.fileno()] = towards
        poll = select.poll()
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        return dict(poll.poll())

    def _write(self) -> bool:
        try:
            sent = os.write(self._stdout, self._outward)
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        self._outward = self._outward[sent:]
        return True

    def _read(self) -> bool:
        try:
            self._inward = os.read(self._stdin, PIECE_BYTES)
        except BlockingIOError:
            return True
        except OSError:  # the terminal behind it is gone
            return False
        return bool(self._inward)

    def _exchange(self, events: int) -> None:
        try:
            if events & select.POLLOUT:
                self._inward = self._inward[self._service.send(self._inward) :]
            # What the service said last is read even if it has gone since.
            if events & (select.POLLIN | LEFT) and not self._outward:
                self._outward = self._service.recv(PIECE_BYTES)
                if not self._outward:
                    raise hung_up()
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError) as error:
            raise hung_up() from error
