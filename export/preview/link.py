"""The device's preview through a command (ssh), which is started again whenever it ends."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge_runtime.errors import CfvggError, ServiceError
from edge_runtime.preview.stream import JPEG, Part, PartReader, line
from export.ssh import end_of, ssh_command

FIRST_RETRY_S, MOST_RETRY_S = 1.0, 10.0
ANSWER_TIMEOUT_S = 3.0
END_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Connection:
    """How things stand between here and the device.

    Attributes:
        state: "connecting", "connected" or "lost".
        host: as the user named it.
        detail: why it was lost; empty otherwise.
        retry_s: seconds until the next attempt, from when it was lost.
    """

    state: Literal["connecting", "connected", "lost"]
    host: str
    detail: str = ""
    retry_s: float = 0.0


@dataclass(frozen=True)
class Update:
    """What a page is shown: messages, and how many there have been of each kind.

    Attributes:
        frame: the newest picture; None before the first.
        frames, connections: numbers that grow with each.
        connection: the state of the connection.
    """

    frame: bytes | None
    frames: int
    connection: bytes
    connections: int


def preview_command(
    host: str, remote_command: str, remote_options: Sequence[str], ssh_options: Sequence[str]
) -> list[str]:
    """The command that streams a device's preview.

    Args:
        host, ssh_options: see `ssh_command`, which also says what is raised.
        remote_command: `cfvgg-edge` as the device's shell finds it.
        remote_options: of `cfvgg-edge preview`.
    """
    remote = " ".join([remote_command, "preview", "--stdout", *remote_options])
    return ssh_command(host, remote, ssh_options, asks=True)


def message(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """A message to the page: lengths of header and body (32 bits each, big-endian), header (JSON), body."""
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


class Link:
    """Keeps the command running, holds the newest picture, and carries commands and their answers.

    Args:
        command: brings the stream on its standard output and takes commands on its standard input.
        host: what to call the other end.
    """

    def __init__(self, command: Sequence[str], host: str) -> None:
        self._command, self._host = list(command), host
        self._changed = threading.Condition()
        self._frame: bytes | None = None
        self._frames = self._connections = 0
        self._connection = Connection("connecting", host)
        self._error: ServiceError | None = None
        self._ever_connected = False
        self._process: subprocess.Popen[bytes] | None = None
        self._sending = threading.Lock()
        self._answers: deque[queue.SimpleQueue[dict[str, Any]]] = deque()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_connected, name="link", daemon=True)
        self._thread.start()

    def wait_connected(self) -> None:
        """Wait until the device answers for the first time.

        Raises:
            ServiceError: the command has ended before that; it is not tried again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ever_connected or self._error is not None)
        if self._error is not None:
            raise self._error

    def wait(self, seen: Update | None, timeout_s: float) -> Update:
        """The newest picture and state: once one of them is newer than `seen`, or when the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: seen is None or self._newer(seen), timeout_s)
            connection = message({"type": "connection"} | asdict(self._connection))
            return Update(self._frame, self._frames, connection, self._connections)

    def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command to the device and return its answer, or `{"ok": False, "error": …}`."""
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._sending:
            if self._connection.state != "connected" or not self._write(line(command)):
                return _refused(f"{self._host} is not connected")
            self._answers.append(answer)
        try:
            return answer.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            return _refused(f"{self._host} has not answered in {ANSWER_TIMEOUT_S:g} s")

    def close(self) -> None:
        """End the command; may be called more than once."""
        self._ending.set()
        process = self._process
        if process is not None:
            process.terminate()
        self._thread.join(2 * END_TIMEOUT_S)

    def _newer(self, seen: Update) -> bool:
        return self._frames != seen.frames or self._connections != seen.connections

    def _keep_connected(self) -> None:
        retry_s = FIRST_RETRY_S
        while not self._ending.is_set():
            self._set(Connection("connecting", self._host))
            reason, connected = self._run()
            if not self._ever_connected:
                with self._changed:
                    self._error = ServiceError(reason, where=self._host, fix=f"does `ssh {self._host}` work?")
                    self._changed.notify_all()
                return
            retry_s = FIRST_RETRY_S if connected else min(2 * retry_s, MOST_RETRY_S)
            self._set(Connection("lost", self._host, reason, retry_s))
            self._ending.wait(retry_s)

    def _run(self) -> tuple[str, bool]:
        """Run the command to its end. Returns why it ended, and whether the device had answered."""
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            return f"cannot be started ({error.strerror})", False
        self._process = process
        said: deque[str] = deque(maxlen=20)
        listener = threading.Thread(target=_listen, args=(process, said), name="link-errors", daemon=True)
        listener.start()
        damage, connected = "", False
        try:
            connected = self._read(process)
        except CfvggError as error:
            damage = str(error)
        finally:
            status = _end(process)
            with self._sending:
                while self._answers:
                    self._answers.popleft().put(_refused(f"the connection to {self._host} was lost"))
        listener.join(END_TIMEOUT_S)
        return damage or end_of(status, said), connected

    def _read(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.stdout is not None
        parts, descriptor = PartReader(), process.stdout.fileno()
        while not self._ending.is_set() and (data := os.read(descriptor, 1 << 16)):
            received = parts.feed(data)
            if parts.started and self._connection.state != "connected":
                self._set(Connection("connected", self._host))
            for part in received:
                self._take(part)
        return parts.started

    def _take(self, part: Part) -> None:
        if part.content_type == JPEG:
            with self._sending:
                self._write(line({"received": part.record.get("frame")}))
            with self._changed:
                self._frame = message({"type": "frame", "record": part.record}, part.body)
                self._frames += 1
                self._changed.notify_all()
            return
        with self._sending:
            waiting = self._answers.popleft() if self._answers else None
        if waiting is not None:
            waiting.put(part.answer())
        elif not part.answer().get("ok"):
            raise ServiceError(str(part.answer().get("error")))

    def _write(self, text: bytes) -> bool:
        process = self._process
        try:
            assert process is not None and process.stdin is not None
            process.stdin.write(text)
            process.stdin.flush()
        except (OSError, ValueError):
            return False
        return True

    def _set(self, connection: Connection) -> None:
        with self._changed:
            self._connection = connection
            self._connections += 1
            self._ever_connected = self._ever_connected or connection.state == "connected"
            self._changed.notify_all()


def _listen(process: subprocess.Popen[bytes], said: deque[str]) -> None:
    """Note what the command says on standard error."""
    assert process.stderr is not None
    for text in process.stderr:
        if text.strip():
            said.append(text.decode("utf-8", "replace").strip())


def _end(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        return process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _refused(error: str) -> dict[str, Any]:
    return {"ok": False, "error": error}
