"""`cfvgg-edge preview --stdout` as ssh starts it: a process of its own on three pipes."""

from __future__ import annotations

import grp
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest

from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.preview.stream import BOUNDARY, JPEG, JSON, Part, PartReader, line
from edge_runtime.sources.fake import FakeScript
from tests.preview.helpers import EDGE, PATIENCE_S, ROOT, Service, wait_for


@contextmanager
def relayed(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command with pipes; killed in the end if it has not ended by itself."""
    pipe = subprocess.PIPE
    environment = os.environ | {"CFVGG_RUNTIME_DIR": str(folder)}
    command = [*EDGE, "preview", "--stdout", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def parts(process: subprocess.Popen[bytes], count: int) -> list[Part]:
    """The first parts that come out; nothing else may stand before or between them."""
    assert process.stdout is not None
    reader, first = PartReader(), True
    found: list[Part] = []
    while len(found) < count:
        data = os.read(process.stdout.fileno(), 1 << 16)
        assert data, "ended"
        assert not first or data.startswith(BOUNDARY[: len(data)])
        first = False
        found += reader.feed(data)
    return found


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Exit status and standard error."""
    status = process.wait(PATIENCE_S)
    return status, stream(process.stderr).read().decode()


def stream(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def test_pictures_come_out_until_standard_input_ends(tmp_path: Path) -> None:
    with Service(tmp_path) as service, relayed(tmp_path, "--width", "100", "--quality", "20") as process:
        found = parts(process, 3)
        assert {part.content_type for part in found} == {JPEG}
        assert found[0].body.startswith(b"\xff\xd8")
        assert found[0].record["device"] == "pi"
        (watcher,) = service.preview._watchers
        assert watcher.rendition is not None
        assert (watcher.rendition.width, watcher.rendition.quality) == (100, 20)
        stream(process.stdin).close()
        assert ended(process) == (0, "")
        wait_for(lambda: not service.preview.watched, "the watcher to be gone")


@pytest.mark.parametrize("silent", [False, True])
def test_a_reader_that_leaves_is_a_normal_end(tmp_path: Path, silent: bool) -> None:
    """Even while there is nothing to send, so that no viewer counts who is gone."""
    with Service(tmp_path) as service, relayed(tmp_path) as process:
        parts(process, 1)
        service.silent = silent
        stream(process.stdout).close()
        assert ended(process) == (0, "")


def test_commands_go_in_and_answers_come_out(tmp_path: Path) -> None:
    with Service(tmp_path) as service, relayed(tmp_path) as process:
        service.silent = True
        text = line({"command": "select", "box": [1, 2, 3, 4]}) + line({"command": "jump"})
        os.write(stream(process.stdin).fileno(), text)
        answers = parts(process, 2)
        assert [part.content_type for part in answers] == [JSON, JSON]
        assert answers[0].answer() == {"ok": True}
        assert answers[1].answer() == {"ok": False, "error": "unknown command 'jump'"}
        assert service.commands.received[0] == {"command": "select", "box": [1, 2, 3, 4]}


def test_large_pictures_pass_while_commands_do(tmp_path: Path) -> None:
    config = PreviewConfig(width_px=1920, quality=95, max_rate_hz=120)
    with Service(tmp_path, config, script=FakeScript(frames=90, width=1920, height=1080)) as service:
        with relayed(tmp_path) as process:
            for _ in range(50):
                os.write(stream(process.stdin).fileno(), line({"command": "status"}))
            found = parts(process, 60)
            assert len([part for part in found if part.content_type == JSON]) == 50
            assert all(part.body.endswith(b"\xff\xd9") for part in found if part.content_type == JPEG)
        assert len(service.commands.named("status")) == 50


def test_a_service_that_ends_is_one_line(tmp_path: Path) -> None:
    with Service(tmp_path) as service, relayed(tmp_path) as process:
        parts(process, 1)
        service.close()
        stream(process.stdout).read()
        expected = "cfvgg-edge: the service closed the preview; see why: journalctl -u cfvgg-edge\n"
        assert ended(process) == (5, expected)


def test_what_the_service_said_last_comes_out(tmp_path: Path) -> None:
    with Service(tmp_path), relayed(tmp_path, "--width", "3") as process:
        out = stream(process.stdout).read()
        (part,) = PartReader().feed(out)
        assert part.answer()["error"] == "preview request: width = 3 is out of range"
        assert ended(process)[0] == 5


def test_a_service_that_does_not_run_is_one_line(tmp_path: Path) -> None:
    with relayed(tmp_path) as process:
        status, err = ended(process)
        assert stream(process.stdout).read() == b""
    assert status == 5
    assert re.fullmatch(r"cfvgg-edge: \S+/preview\.sock: the service does not run; start it: .*\n", err)


def test_interrupts_say_nothing(tmp_path: Path) -> None:
    with Service(tmp_path), relayed(tmp_path) as process:
        parts(process, 1)
        process.send_signal(signal.SIGINT)
        with suppress(BrokenPipeError):
            assert ended(process) == (130, "")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody without permission")
@pytest.mark.parametrize("closed", ["socket", "folder"])
def test_somebody_outside_the_group_is_told_which_group(closed: str) -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Service(folder) as service:
            group = grp.getgrnam("video")
            os.chown(service.path if closed == "socket" else folder, 0, group.gr_gid)
            folder.chmod(0o755 if closed == "socket" else 0o750)
            code = "import sys; from edge_runtime.preview.relay import relay; from pathlib import Path\n"
            code += "from edge_runtime.errors import ServiceError\n"
            code += "import grp, os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            code += "try: relay(Path(sys.argv[1]), {})\nexcept ServiceError as error: print(error)"
            command = [sys.executable, "-c", code, str(service.path)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    expected = r"\S+/preview\.sock: access is denied; run sudo usermod -aG video \$USER, log in again\n"
    assert re.fullmatch(expected, done.stdout)


def test_it_starts_without_anything_heavy() -> None:
    code = "import sys, edge_runtime.preview.relay; print([m for m in ('cv2', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
