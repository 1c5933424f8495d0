"""Commands to a running service, over a unix socket: lines of JSON in, as many lines of JSON out."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge_runtime.errors import CfvggError, CommandError, ServiceError
from edge_runtime.targets.targets import Targets
from edge_runtime.types import Box, Handle
from edge_runtime.unix_socket import connect, listen, stop_listening

MOST_BYTES = 4096
MOST_CLIENTS = 8
IDLE_S = 30.0
ANSWER_S = 5.0

log = logging.getLogger(__name__)


class Commands:
    """A `Handle`: obeys what it is told, in any thread, and returns at once.

    Args:
        targets: what commands are about.
        status: what "status" answers with.
    """

    def __init__(self, targets: Targets, status: Callable[[], dict[str, Any]]) -> None:
        self._targets, self._status = targets, status

    def __call__(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Obey; the answer has "ok", and "error" if that is false."""
        try:
            return {"ok": True} | self._obey(request)
        except CfvggError as error:
            return {"ok": False, "error": str(error)}
        except Exception as error:  # a client must not be able to end the service, or a thread of it
            log.exception("command %.100r", request)
            return {"ok": False, "error": " ".join(f"{type(error).__name__}: {error}".split())}

    def _obey(self, request: Mapping[str, Any]) -> dict[str, Any]:
        allowed = {"select": {"box"}, "clear": {"track_id"}, "pause": set(), "resume": set(), "status": set()}
        command = request.get("command")
        if not isinstance(command, str) or command not in allowed:
            raise CommandError(f"unknown command {command!r:.40}", fix=f"use {', '.join(allowed)}")
        for key in request.keys() - {"command"} - allowed[command]:
            raise CommandError(f"{command} takes no {key!r:.40}")
        if command == "status":
            return {"status": self._status()}
        if command == "select":
            self._targets.select(_box(request.get("box")))
        elif command == "clear":
            self._targets.clear(_track_id(request.get("track_id")))
        else:
            self._targets.pause(command == "pause")
        return {}


def _box(value: Any) -> Box:
    numbers = isinstance(value, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in value
    )
    if numbers and len(value) == 4:
        with contextlib.suppress(OverflowError):  # JSON's integers have no end
            return Box(*map(float, value))
    raise CommandError(f"{value!r:.60} is not a box", fix="give four numbers x,y,w,h in pixels")


def _track_id(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise CommandError(f"{value!r:.40} is not a track_id", fix="give its number, or none for all")
    return value


class ControlServer:
    """Answers on a socket, in threads of its own.

    Args:
        path: of the socket.
        handle: obeys.

    Raises:
        StorageError: the socket cannot be made, or another service answers on it.
    """

    def __init__(self, path: Path, handle: Handle) -> None:
        self._handle = handle
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        self._socket = listen(path)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Answer no more; the socket vanishes."""
        stop_listening(self._socket)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # closed
                return
            if not self._room.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), name="control", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
                client.settimeout(IDLE_S)
                while line := lines.readline(MOST_BYTES + 1):
                    client.sendall(json.dumps(answer(self._handle, line)).encode() + b"\n")
                    if len(line) > MOST_BYTES:
                        return
        finally:
            self._room.release()


def answer(handle: Handle, line: bytes) -> dict[str, Any]:
    """What a handle says to a line of JSON, whatever it holds."""
    if len(line) > MOST_BYTES:
        return {"ok": False, "error": f"a command has at most {MOST_BYTES} bytes"}
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"ok": False, "error": f"is not JSON ({' '.join(str(error).split()):.100})"}
    if not isinstance(request, dict):
        return {"ok": False, "error": "a command is a JSON object"}
    return handle(request)


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send a command to the service that listens on `path`.

    Raises:
        ServiceError: no service answers, or it refuses.
    """
    try:
        with connect(path, ANSWER_S) as service, service.makefile("rb") as lines:
            service.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise ServiceError(f"the service does not answer ({error})", where=path) from error
    if not reply["ok"]:
        raise ServiceError(reply["error"])
    return dict(reply)
