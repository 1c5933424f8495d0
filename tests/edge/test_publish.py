"""JSON lines to files and standard output."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.errors import StorageError
from edge_runtime.publishers.base import Direct
from edge_runtime.publishers.lines import LinesFile, StandardOutput
from edge_runtime.publishers.queued import Queued
from tests.edge.publishing import LINE_BYTES, disk_of, fill, frames, record, wait_for

ROOT = Path(__file__).parents[2]


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk_of(tmp_path / "disk", "64k") as folder:
        yield folder


def _has_files(folder: Path, count: int) -> bool:
    return len(list(folder.iterdir())) >= count


def recording(path: Path) -> Direct:
    return Direct(LinesFile(path, append=False))


def test_a_recording_has_each_line_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.jsonl"
    publisher = recording(path)
    for index in range(3):
        publisher.publish(record(index))
        assert frames(path.read_text().splitlines()) == list(range(index + 1))
    publisher.close()
    assert (publisher.name, publisher.sent, publisher.dropped) == ("file", 3, 0)


def test_a_recording_replaces_an_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("old\n" * 100)
    publisher = recording(path)
    publisher.publish(record(5))
    publisher.close()
    assert path.read_text() == record(5).to_json() + "\n"


def test_standard_output_stays_open(capfd: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        publisher = Direct(StandardOutput())
        publisher.publish(record(index))
        publisher.close()
    os.write(sys.stdout.fileno(), b"after\n")
    out = capfd.readouterr().out.splitlines()
    assert frames(out[:2]) == [0, 1]
    assert out[2] == "after"


def test_a_full_disk_takes_the_half_line_back(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    publisher = recording(path)
    with largest_file(2 * LINE_BYTES + 50):
        publisher.publish(record(1000))
        publisher.publish(record(1001))
        with pytest.raises(StorageError, match=r"t.jsonl: cannot be written \(File too large\)"):
            publisher.publish(record(1002))
    publisher.close()
    assert frames(path.read_text().splitlines()) == [1000, 1001]
    assert publisher.sent == 2


def test_standard_output_into_a_full_disk_takes_the_half_line_back(tmp_path: Path) -> None:
    code = """
import sys
from edge_runtime.errors import StorageError
from edge_runtime.publishers.lines import StandardOutput
from tests.edge.test_publish import LINE_BYTES, largest_file, record
sink = StandardOutput()
sys.stdout.write("before\\n"); sys.stdout.flush()
with largest_file(7 + 2 * LINE_BYTES + 50):
    sink.deliver([record(1000)])
    try:
        sink.deliver([record(1001), record(1002)])
    except StorageError as error:
        print(error, file=sys.stderr)
sink.deliver([record(1003)])
"""
    for flags in (os.O_APPEND, 0):
        out = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags)
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=True
        )
        os.close(out)
        assert done.stderr == (
            "standard output: cannot be written (File too large); free space or choose another place\n"
        )
        first, *lines = (tmp_path / "out").read_text().splitlines()
        assert first == "before"
        assert frames(lines) == [1000, 1001, 1003]


def test_a_device_without_space() -> None:
    publisher = recording(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left"):
        publisher.publish(record(0))
    publisher.close()


@pytest.mark.parametrize("append", [False, True])
def test_a_path_that_cannot_be_opened(tmp_path: Path, append: bool) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        LinesFile(tmp_path, append=append)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        LinesFile(tmp_path / "file" / "t.jsonl", append=append)


def test_a_reader_that_leaves_is_one_line_without_a_second_one_at_exit() -> None:
    code = """
import sys
from edge_runtime.errors import StorageError
from edge_runtime.publishers.base import Direct
from edge_runtime.publishers.lines import StandardOutput
from tests.edge.publishing import record
try:
    Direct(StandardOutput()).publish(record(0))
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


def test_a_live_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.jsonl"
    for start in (0, 3):
        sink = LinesFile(path, append=True)
        sink.deliver([record(start)])
        sink.deliver([record(start + 1), record(start + 2)])
        sink.close()
    assert frames(path.read_text().splitlines()) == list(range(6))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 3 * LINE_BYTES))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.jsonl"
    lines = b"".join(record(1000 + n).to_json().encode() + b"\n" for n in range(3))
    path.write_bytes(lines[:cut])
    sink = LinesFile(path, append=True)
    sink.deliver([record(1003)])
    sink.close()
    assert frames(path.read_text().splitlines()) == [*range(1000, 1000 + cut // LINE_BYTES), 1003]


def test_a_long_line_of_somebody_else_is_ended_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"first\n" + b"x" * 100_000)
    sink = LinesFile(path, append=True)
    sink.deliver([record(0)])
    sink.close()
    first, long, ours = path.read_text().splitlines()
    assert (first, long) == ("first", "x" * 100_000)
    assert frames([ours]) == [0]


def test_kill_9_again_and_again_leaves_whole_lines_in_order(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    code = """
import itertools, sys
from pathlib import Path
from edge_runtime.publishers.lines import LinesFile
from tests.edge.publishing import record
sink = LinesFile(Path(sys.argv[1]), append=True, max_bytes=300_000, keep=1000)
for start in itertools.count(int(sys.argv[2]), 40):
    sink.deliver([record(start + n) for n in range(40)])
"""
    seed = random.Random(7)
    files = 0
    for start in range(0, 3_000_000, 1_000_000):
        process = subprocess.Popen([sys.executable, "-c", code, str(path), str(start)], cwd=ROOT)
        # Somewhere in the middle of writing or rotating.
        wait_for(partial(_has_files, tmp_path, files + 3))
        time.sleep(seed.uniform(0, 0.05))
        process.kill()
        process.wait(timeout=30)
        files = len(list(tmp_path.iterdir()))
    LinesFile(path, append=True).close()
    numbers = sorted((int(p.suffix[1:]) for p in tmp_path.iterdir() if p != path), reverse=True)
    assert numbers == list(range(len(numbers), 0, -1))
    parts = [*(Path(f"{path}.{n}") for n in numbers), path]
    found = [frame for part in parts for frame in frames(part.read_text().splitlines())]
    assert len(found) > 6 * 0.8 * 300_000 / LINE_BYTES
    for start in range(0, 3_000_000, 1_000_000):
        run = [frame for frame in found if start <= frame < start + 1_000_000]
        assert run == list(range(start, start + len(run)))
    assert found == sorted(found)


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_rotation_keeps_the_newest_within_the_limits(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "t.jsonl"
    limit = 10 * LINE_BYTES
    sink = LinesFile(path, append=True, max_bytes=limit, keep=keep)
    for frame in range(1000, 1100, 4):
        sink.deliver([record(frame + n) for n in range(4)])
    sink.close()
    parts = [path, *(Path(f"{path}.{n}") for n in range(1, keep + 1))]
    assert sorted(tmp_path.iterdir()) == sorted(parts)
    assert all(part.stat().st_size <= limit for part in parts)
    found = [frame for part in reversed(parts) for frame in frames(part.read_text().splitlines())]
    # Eight lines go into each, since four come at a time; 100 lines end in the middle of one.
    assert found == list(range(1100 - 4 - 8 * keep, 1100))
    assert sink.sent == 100


def test_a_file_that_goes_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.jsonl"
    sink = LinesFile(path, append=True)
    sink.deliver([record(0)])
    path.rename(tmp_path / "moved")
    sink.deliver([record(1)])
    shutil.rmtree(path.parent)
    sink.deliver([record(2)])
    sink.close()
    assert frames((tmp_path / "moved").read_text().splitlines()) == [0]
    assert frames(path.read_text().splitlines()) == [2]


def test_a_full_disk_costs_what_the_queue_cannot_hold_and_recovers_by_itself(small_disk: Path) -> None:
    path, filler = small_disk / "t.jsonl", small_disk / "filler"
    publisher = Queued(LinesFile(path, append=True), queue_records=50, every_s=0.01)
    for frame in range(20):
        publisher.publish(record(frame))
    wait_for(lambda: publisher.sent == 20)
    fill(filler)
    for frame in range(20, 220):
        publisher.publish(record(frame))
        time.sleep(0.001)
    wait_for(lambda: publisher.dropped > 0)
    assert publisher.sent + publisher.dropped <= 220 - 50 + publisher.sent
    frames(path.read_text().splitlines())
    filler.unlink()
    recovery_s = wait_for(lambda: publisher.sent + publisher.dropped == 220)
    publisher.publish(record(220))
    publisher.close()
    # The pause after a failure is two seconds at most.
    assert recovery_s < 20
    found = frames(path.read_text().splitlines())
    assert found[:20] == list(range(20))
    assert found[-51:] == list(range(170, 221))
    assert len(found) == publisher.sent
    assert publisher.sent + publisher.dropped == 221
    assert 100 <= publisher.dropped <= 150


def test_a_live_run_starts_on_a_full_disk(small_disk: Path) -> None:
    filler = small_disk / "filler"
    fill(filler)
    with pytest.raises(StorageError, match="No space left"):
        recording(small_disk / "folder" / "r.jsonl").publish(record(0))
    publisher = Queued(LinesFile(small_disk / "folder" / "t.jsonl", append=True), every_s=0.01)
    publisher.publish(record(0))
    filler.unlink()
    wait_for(lambda: publisher.sent == 1)
    publisher.close()
    assert frames((small_disk / "folder" / "t.jsonl").read_text().splitlines()) == [0]


def test_few_writes_in_a_live_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.jsonl"
    publisher = Queued(LinesFile(path, append=True), every_s=60)
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr("edge_runtime.publishers.lines.os.write", counted)
    for frame in range(1000, 1030):
        publisher.publish(record(frame))
    assert (writes, publisher.sent) == ([], 0)
    # The last records reach the file on closing.
    publisher.close()
    assert writes == [30 * LINE_BYTES]
    assert frames(path.read_text().splitlines()) == list(range(1000, 1030))


def test_a_named_pipe_gets_whole_lines_and_nobody_waits_for_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = LinesFile(path, append=True)
    assert not sink.regular
    publisher = Queued(sink)
    publisher.publish(record(0))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    wait_for(lambda: publisher.sent == 1)
    # A pipe holds 64 KiB; nobody reads.
    for frame in range(1, 1000):
        publisher.publish(record(frame))
    wait_for(lambda: publisher.sent > 65_536 // LINE_BYTES - 12)
    publisher.close()
    assert publisher.sent + publisher.dropped == 1000
    with os.fdopen(reader, "rb") as file:
        lines = (file.read() or b"").splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    assert frames(lines) == list(range(len(lines)))
    assert json.loads(lines[0])["frame"] == 0
