"""Records and waiting, for the tests of everything that publishes."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge_runtime.errors import StorageError
from edge_runtime.records import SCHEMA, SCHEMA_FILE, TrackRecord
from tests.edge.helpers import SHA256

VALIDATOR = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
PERIOD_NS = 33_333_333


def record(
    frame: int,
    state: str = "tracking",
    *,
    track_id: int = 1,
    confidence: float = 0.9,
    t_ns: int | None = None,
) -> TrackRecord:
    """One of a 30 Hz stream; those of frames 1000 to 2999 are equally long."""
    return TrackRecord(
        schema=SCHEMA,
        device="pi",
        track_id=track_id,
        frame=frame,
        t_monotonic_ns=frame * PERIOD_NS if t_ns is None else t_ns,
        t_unix=1.7e9 + frame,
        clock_synced=True,
        state=state,
        box=None if state == "searching" else (10.25, 20.5, 64.0, 48.0),
        frame_size=(640, 480),
        confidence=None if state == "searching" else confidence,
        psr=12.5,
        latency_ms=7.125,
        model_sha256=SHA256,
        throttled=0,
    )


LINE_BYTES = len(record(1000).to_json()) + 1


def valid(lines: Iterable[str | bytes]) -> list[dict[str, Any]]:
    """Every line parsed and held against the schema."""
    found = [json.loads(line) for line in lines]
    for parsed in found:
        VALIDATOR.validate(parsed)
    return found


def frames(lines: Iterable[str | bytes]) -> list[int]:
    """The frame numbers of valid records."""
    return [parsed["frame"] for parsed in valid(lines)]


def wait_for(condition: Callable[[], Any], limit_s: float = 30.0) -> float:
    """Wait until a condition holds; returns how long it took, seconds."""
    start_s = time.monotonic()
    while not condition():
        assert time.monotonic() - start_s < limit_s, "waited in vain"
        time.sleep(0.005)
    return time.monotonic() - start_s


@contextlib.contextmanager
def disk_of(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own, of a size such as "64k"; a test that cannot have one is skipped."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "cfvgg-test", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(filler: Path) -> None:
    """Let a file take what is left of its disk."""
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


class ScriptedSink:
    """A sink that does what a test tells it: takes records, fails, or hangs until it is let go."""

    name = "scripted"

    def __init__(self) -> None:
        self.sent = self.dropped = 0
        self.batches: list[list[int]] = []
        self.error: Exception | None = None
        self.attempts = 0
        self.closed = False
        self.free = threading.Event()
        self.free.set()

    def deliver(self, records: Sequence[TrackRecord]) -> None:
        self.attempts += 1
        self.free.wait()
        if self.error is not None:
            raise self.error
        self.batches.append([r.frame for r in records])
        self.sent += len(records)

    def close(self) -> None:
        self.closed = True

    @property
    def frames(self) -> list[int]:
        return [frame for batch in self.batches for frame in batch]


FAILURE = StorageError("cannot be written (No space left on device)", where="t.jsonl")


def messages(log: Any) -> list[str]:
    """What was logged as a warning or worse."""
    return [entry.getMessage() for entry in log.records if entry.levelno >= logging.WARNING]
