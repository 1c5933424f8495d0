from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.errors import StorageError
from edge_runtime.host import HostStatus
from edge_runtime.publish import JsonLinesPublisher
from edge_runtime.records import RecordMaker, TrackRecord
from edge_runtime.sources import CapturedFrame
from tests.edge.helpers import SHA256

ROOT = Path(__file__).parents[2]


def record(index: int) -> TrackRecord:
    frame = CapturedFrame(np.zeros((4, 4, 3), np.uint8), index, index, None)
    return RecordMaker("pi", SHA256)(frame, None, HostStatus(None, None))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writes beyond `size` bytes fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_each_line_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.jsonl"
    with JsonLinesPublisher(str(path)) as publisher:
        for index in range(3):
            publisher.publish(record(index))
            lines = path.read_text().splitlines()
            assert [json.loads(line)["frame"] for line in lines] == list(range(index + 1))


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old\n" * 100)
    with JsonLinesPublisher(str(path)) as publisher:
        publisher.publish(record(5))
    assert path.read_text() == record(5).to_json() + "\n"


def test_standard_output_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        with JsonLinesPublisher("-") as publisher:
            publisher.publish(record(index))
    os.write(sys.stdout.fileno(), b"after\n")
    out = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["frame"] for line in out[:2]] == [0, 1]
    assert out[2] == "after"


def test_a_full_disk_takes_the_half_line_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    line_bytes = len(record(0).to_json()) + 1
    with largest_file(2 * line_bytes + 50), JsonLinesPublisher(str(path)) as publisher:
        publisher.publish(record(0))
        publisher.publish(record(1))
        with pytest.raises(StorageError, match=r"t.jsonl: cannot be written \(File too large\)"):
            publisher.publish(record(2))
    assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == [0, 1]


def test_a_device_without_space() -> None:
    with JsonLinesPublisher("/dev/full") as publisher, pytest.raises(StorageError, match="No space left"):
        publisher.publish(record(0))


def test_a_path_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        JsonLinesPublisher(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        JsonLinesPublisher(str(tmp_path / "file" / "t.jsonl"))


def test_a_reader_that_leaves_is_one_line_without_a_second_one_at_exit() -> None:
    code = """
import sys
from edge_runtime.errors import StorageError
from edge_runtime.publish import JsonLinesPublisher
from tests.edge.test_publish import record
try:
    JsonLinesPublisher("-").publish(record(0))
except StorageError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.returncode == 4
    assert done.stderr == "standard output: the reader closed the pipe; read it to the end\n"
