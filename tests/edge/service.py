"""The service in a process of its own, for tests of the whole of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_runtime.control import ask
from edge_runtime.errors import ServiceError
from edge_runtime.records import SCHEMA_FILE

ROOT = Path(__file__).parents[2]
START = "import sys; from edge_runtime.cli import main; main()"
PATIENCE_S = 60.0
LIVE = "fake:live=true"


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for a condition on a machine that may be busy; its value."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if value := condition():
            return value
        time.sleep(0.02)
    pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")


class Running:
    """`cfvgg-edge run` in a process of its own; `code` is what it runs."""

    def __init__(
        self,
        folder: Path,
        *options: str,
        uri: str = LIVE,
        env: dict[str, str] | None = None,
        code: str = START,
    ) -> None:
        self.folder, self.tracks = folder, folder / "tracks.jsonl"
        self.runtime = folder / "run"
        command = ["run", "--source", uri, "--preset", "kcf", "--tracks", str(self.tracks), *options]
        # Into a file: a pipe that nobody reads would fill.
        self.log = (folder / "log.txt").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *command],
            cwd=ROOT,
            env=os.environ | {"CFVGG_RUNTIME_DIR": str(self.runtime)} | (env or {}),
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        return ask(self.runtime / "control.sock", request)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(command="status")["status"]
        return found

    def frames(self) -> int:
        with contextlib.suppress(ServiceError):
            return int(self.status()["loop"]["frames"])
        assert self.process.poll() is None, self.text()
        return 0

    def started(self) -> Running:
        until(lambda: self.frames() > 2, "frames")
        return self

    def text(self) -> str:
        return (self.folder / "log.txt").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def records(self) -> list[dict[str, Any]]:
        validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
        found = [json.loads(line) for line in self.tracks.read_text().splitlines()]
        for record in found:
            validator.validate(record)
        return found


@contextlib.contextmanager
def services(folder: Path) -> Iterator[Callable[..., Running]]:
    """What starts services in a folder; they end with the context."""
    made: list[Running] = []

    def make(*options: str, **more: Any) -> Running:
        made.append(Running(folder, *options, **more))
        return made[-1]

    try:
        yield make
    finally:
        for running in made:
            running.process.kill()
            running.process.wait()
            running.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    with services(tmp_path) as make:
        yield make
