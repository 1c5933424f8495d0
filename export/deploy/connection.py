"""One command at the far end at a time: what it is fed, what it says, and how it ended."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

from export.ssh import NOT_FOUND, ssh_command

MOST_LINES = 1000
END_TIMEOUT_S = 5.0
BEAT_S = 3.0  # while standard input is held: a device takes silence after a beat as a lost connection


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Attributes:
        status: its exit code; that of ssh if the connection failed, negative if ssh was killed.
        output: what it wrote to standard output.
        said: the lines that it, or ssh, wrote to standard error.
    """

    status: int
    output: bytes = b""
    said: tuple[str, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether the connection failed, or the command was killed: what it did is not known then."""
        return self.status > NOT_FOUND or self.status < 0


@dataclass(frozen=True)
class Request:
    """One command for a device.

    Attributes:
        arguments: of `cfvgg-edge`.
        sudo: whether it is to run as root.
        stdin: chunks for its standard input.
        hold_stdin: whether that stays open until the command ends, with a beat now and then: a lifeline.
        on_stderr: is told each line of standard error at once, from another thread.
    """

    arguments: Sequence[str]
    sudo: bool = False
    stdin: Iterable[bytes] = ()
    hold_stdin: bool = False
    on_stderr: Callable[[str], None] | None = None


class Connection(Protocol):
    """What runs `cfvgg-edge` on a device.

    Attributes:
        host: as the user named it.
    """

    host: str

    def run(self, request: Request) -> Answer:
        """Run `cfvgg-edge` and wait for its end."""
        ...


class SshConnection:
    """Through the user's own ssh, one connection for each command. Asks for nothing.

    Args:
        host: as for ssh: [user@]host, or a name from the user's ssh configuration.
        remote_command: `cfvgg-edge` as the device's shell finds it.
        options: as for ssh's -o.
    """

    def __init__(self, host: str, remote_command: str = "cfvgg-edge", options: Sequence[str] = ()) -> None:
        self.host = host
        self._remote_command, self._options = remote_command, tuple(options)

    def run(self, request: Request) -> Answer:
        """See `Connection`. Raises what `ssh_command` raises."""
        remote = f"{'sudo -n ' if request.sudo else ''}{self._remote_command} {shlex.join(request.arguments)}"
        command = ssh_command(self.host, remote, self._options, asks=False)
        pipe = subprocess.PIPE
        with _ended(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            output, said = list[bytes](), list[str]()
            readers = [
                threading.Thread(target=_collect, args=(process.stdout, output), daemon=True),
                threading.Thread(target=_listen, args=(process.stderr, said, request.on_stderr), daemon=True),
            ]
            for reader in readers:
                reader.start()
            _feed(process.stdin, request.stdin)
            if request.hold_stdin:
                _beat(process, process.stdin)
            else:
                _close(process.stdin)
            process.wait()
            for reader in readers:
                reader.join(END_TIMEOUT_S)
            return Answer(process.returncode, b"".join(output), tuple(said))


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End it whatever happens: the far end takes the closed connection as a sign to go back."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_TIMEOUT_S)
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            _close(process.stdin)  # the others are their readers' to close


def _feed(stream: IO[bytes], chunks: Iterable[bytes]) -> None:
    # A command that refuses ends before it has read everything; it says why itself.
    with contextlib.suppress(BrokenPipeError):
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()


def _beat(process: subprocess.Popen[bytes], stream: IO[bytes]) -> None:
    """A line now and then, until the end. Cables that are pulled out close no connection."""
    while process.poll() is None:
        with contextlib.suppress(BrokenPipeError):
            stream.write(b"\n")
            stream.flush()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(BEAT_S)


def _close(stream: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        stream.close()


def _collect(stream: IO[bytes], output: list[bytes]) -> None:
    with stream:
        output.extend(stream)


def _listen(stream: IO[bytes], said: list[str], on_line: Callable[[str], None] | None) -> None:
    with stream:
        for text in stream:
            line = text.decode("utf-8", "replace").strip()
            if line and len(said) < MOST_LINES:
                said.append(line)
                if on_line is not None:
                    on_line(line)
