"""A `systemctl` for tests: one unit, `cfvgg-edge.service`, with a real `cfvgg-edge run` behind it.

It starts the process anew when it fails (Restart=on-failure, RestartPreventExitStatus=2), waits for READY=1
(Type=notify), counts restarts, and answers what the deployment asks. The program on the PATH passes its
arguments on to a thread of the test. $STANDIN_KILL="VERB" makes it kill whoever calls it with that verb,
and do nothing; "VERB:and-do" before it does it, "VERB:after" afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.edge.service import ROOT, START

STOP_S = 10.0
RESTART_S = 0.2
PREVENTED = 2
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
kill, _, when = os.environ.get("STANDIN_KILL", "").partition(":")
mine = kill and kill in sys.argv[1:]
if mine and when != "after":
    os.kill(os.getppid(), signal.SIGKILL)
    if when != "and-do":
        sys.exit(1)
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
    client.connect({socket!r})
    client.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(client.makefile("rb").readline())
if mine and when == "after":
    os.kill(os.getppid(), signal.SIGKILL)
sys.stdout.write(answer["out"])
sys.stderr.write(answer["err"])
sys.exit(answer["code"])
"""

Answer = tuple[int, str, str]


class StandinSystemd:
    """The unit, and the programs `systemctl` and `journalctl` in `path`, which belongs first in PATH.

    Args:
        folder: for sockets, programs and the log; its name must be short, as sockets are in it.
        config: settings of the service.
        env: more of its environment.
        code: what the service's Python runs.
    """

    def __init__(
        self, folder: Path, config: Path, env: dict[str, str] | None = None, code: str = START
    ) -> None:
        self.folder, self.config, self.code = folder, config, code
        self.runtime, self.log, self.path = folder / "run", folder / "log.txt", folder / "bin"
        self.env = os.environ | {"CFVGG_RUNTIME_DIR": str(self.runtime)} | (env or {})
        self.env["NOTIFY_SOCKET"] = str(folder / "notify")
        self.installed, self.state, self.result, self.status = True, "inactive", "success", 0
        self.restarts, self.starts, self.start_s = 0, 0, 60.0
        self.process: subprocess.Popen[bytes] | None = None
        self.asked: list[list[str]] = []
        self._changed, self._wanted, self._closed = threading.Condition(), False, False
        self.runtime.mkdir(parents=True, exist_ok=True)
        self._programs()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(folder / "systemd"))
        self._server.listen(16)
        for target in (self._hear, self._serve):
            threading.Thread(target=target, daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None and self.process.poll() is None else 0

    def systemctl(self, *arguments: str) -> Answer:
        """What `systemctl` answers: exit code, output, errors."""
        verb = next((a for a in arguments if not a.startswith("-")), "")
        obey = {
            "show": self._show,
            "is-active": self._is_active,
            "start": self._start,
            "restart": self._restart,
            "try-restart": self._try_restart,
            "stop": self._stop,
            "reset-failed": self._reset_failed,
        }.get(verb)
        if obey is None:
            return (0, "", "") if verb in ("daemon-reload", "enable", "disable") else (1, "", f"{verb}?\n")
        if verb == "show":
            return self._show(*arguments)
        return obey()

    def power_cut(self) -> None:
        """Everything ends at once; nothing starts again by itself."""
        with self._changed:
            self._wanted, self.state = False, "inactive"
            if self.process is not None:
                self.process.kill()
        if self.process is not None:
            self.process.wait()

    def close(self) -> None:
        self._closed = True
        self._stop()
        for listener in (self._server, self._notify):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _programs(self) -> None:
        self.path.mkdir(exist_ok=True)
        client = CLIENT.format(python=sys.executable, socket=str(self.folder / "systemd"))
        for name, text in (("systemctl", client), ("journalctl", f"#!/bin/sh\nexec cat {self.log}\n")):
            program = self.path / name
            program.write_text(text)
            program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            arguments: list[str] = json.loads(lines.readline())
            self.asked.append(arguments)
            code, out, err = self.systemctl(*arguments)
            client.sendall(json.dumps({"code": code, "out": out, "err": err}).encode() + b"\n")

    def _hear(self) -> None:
        while not self._closed:
            try:
                said = self._notify.recv(4096)
            except OSError:
                return
            if b"READY=1" in said.split(b"\n"):
                with self._changed:
                    if self._wanted:
                        self.state = "active"
                    self._changed.notify_all()

    def _show(self, *arguments: str) -> Answer:
        names = ",".join(a for a, before in zip(arguments[1:], arguments, strict=False) if before == "-p")
        line = f"/usr/bin/cfvgg-edge run --config {self.config}"
        sub = {"active": "running", "activating": "auto-restart"}.get(self.state, "dead")
        properties = {
            "LoadState": "loaded" if self.installed else "not-found",
            "ActiveState": self.state,
            "SubState": sub,
            "NRestarts": str(self.restarts),
            "MainPID": str(self.pid),
            "Result": self.result,
            "ExecMainStatus": str(self.status),
            "ExecStart": f"{{ path=/usr/bin/cfvgg-edge ; argv[]={line} ; ignore_errors=no ; pid=0 }}",
        }
        wanted = names.split(",") if names else list(properties)
        return 0, "".join(f"{name}={properties[name]}\n" for name in wanted if name in properties), ""

    def _is_active(self) -> Answer:
        return (0 if self.state == "active" else 3), f"{self.state}\n", ""

    def _reset_failed(self) -> Answer:
        if self.state == "failed":
            self.state = "inactive"
        return 0, "", ""

    def _try_restart(self) -> Answer:
        return self._restart() if self.state == "active" else (0, "", "")

    def _restart(self) -> Answer:
        self._stop()
        return self._start()

    def _start(self) -> Answer:
        if not self.installed:
            return 5, "", "Unit cfvgg-edge.service not found.\n"
        with self._changed:
            if self.state == "active":
                return 0, "", ""
            self._wanted, self.restarts = True, 0
            process = self._spawn()
            self._changed.wait_for(lambda: self.state == "active" or process.poll() is not None, self.start_s)
            if self.state == "active":
                return 0, "", ""
            process.kill()
        return (
            1,
            "",
            "Job for cfvgg-edge.service failed because the control process exited with error code.\n",
        )

    def _stop(self) -> Answer:
        with self._changed:
            self._wanted = False
            process = self.process
            if process is not None and process.poll() is None:
                process.terminate()
        if process is not None:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        with self._changed:
            self.state = "inactive"
        return 0, "", ""

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.state, self.starts = "activating", self.starts + 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.code, "run", "--config", str(self.config)],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        threading.Thread(target=self._supervise, args=(self.process,), daemon=True).start()
        return self.process

    def _supervise(self, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self._changed:
            if not self._wanted or self.process is not process:
                return
            self.status = abs(code)
            self.result = "success" if code == 0 else "signal" if code < 0 else "exit-code"
            if code in (0, PREVENTED):
                self._wanted, self.state = False, "inactive" if code == 0 else "failed"
                self._changed.notify_all()
                return
            self.state = "activating"
            self._changed.notify_all()
        time.sleep(RESTART_S)
        with self._changed:
            if self._wanted and self.process is process:
                self.restarts += 1
                self._spawn()
