"""A real sshd on the loopback address: a high port, one key, the user who runs the tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.preview.helpers import wait_for

SBIN = "/usr/sbin"


class Sshd:
    """Started, stopped and started again at the same port.

    Args:
        folder: for its keys and settings.
        env: of whatever it starts.

    Attributes:
        options: for ssh's -o, with which it reaches this server and asks nothing.
        host: for ssh.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        search = os.pathsep.join([os.environ.get("PATH", os.defpath), SBIN])
        programs = [shutil.which(name, path=search) for name in ("sshd", "ssh", "ssh-keygen")]
        if None in programs:
            pytest.skip("sshd is missing (apt install openssh-server)")
        self._sshd, _, keygen = (str(program) for program in programs)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where Debian's start script would make it
        for name in ("host", "user"):
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, capture_output=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = f"{getpass.getuser()}@127.0.0.1"
        self._config, self._log = folder / "sshd_config", folder / "sshd.log"
        self._config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder / 'host'}\n"
            f"AuthorizedKeysFile {folder / 'user.pub'}\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        )
        if env:
            setting = " ".join(f'"{name}={value}"' for name, value in env.items())
            with self._config.open("a") as config:
                config.write(f"SetEnv {setting}\n")
        self.options = [
            f"Port={self.port}",
            f"IdentityFile={folder / 'user'}",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            f"UserKnownHostsFile={folder / 'known_hosts'}",
            "StrictHostKeyChecking=accept-new",
            "BatchMode=yes",
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = [self._sshd, "-D", "-e", "-f", str(self._config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, "sshd to listen")

    def sessions(self) -> list[int]:
        """Processes that serve connections."""
        assert self._process is not None
        listing = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(pid) for pid in listing.stdout.split()]

    def drop(self) -> None:
        """End every connection, as a network that fails does."""
        send(self.sessions(), signal.SIGKILL)

    def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._process is None:
            return
        sessions = self.sessions()
        self._process.terminate()
        self._process.wait()
        self._process = None
        send(sessions, signal.SIGKILL)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes that may be gone."""
    for pid in filter(None, pids):  # 0 would be everybody
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
