from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge_runtime.errors import ServiceError, StorageError
from edge_runtime.unix_socket import connect, listen, stop_listening

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o660, 0o600])
def test_a_socket_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "new" / "folder" / "s.sock"
    before = os.umask(umask)
    try:
        listener = listen(path, mode=mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    with connect(path, 5) as client:
        served, _ = listener.accept()
        client.sendall(b"a")
        assert served.recv(10) == b"a"
        served.close()
    stop_listening(listener)
    assert list(path.parent.iterdir()) == []


def test_one_in_use_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    listener = listen(path, backlog=1)
    with pytest.raises(StorageError, match=r"s.sock: another cfvgg-edge listens here; stop it"):
        listen(path)
    # Nor when so many wait that the next would have to.
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    with pytest.raises(BlockingIOError):
        for client in waiting:
            client.setblocking(False)
            client.connect(str(path))
    with pytest.raises(StorageError, match="another cfvgg-edge listens here"):
        listen(path)
    for client in waiting:
        client.close()
    stop_listening(listener)


def test_one_whose_process_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    code = """
import sys, time
from pathlib import Path
from edge_runtime.unix_socket import listen
listener = listen(Path(sys.argv[1]))
print("listening", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "listening\n"
    with pytest.raises(StorageError, match="another cfvgg-edge listens here"):
        listen(path)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    assert path.exists()
    with pytest.raises(ServiceError, match="the service does not run"):
        connect(path, 1)
    listener = listen(path)
    connect(path, 5).close()
    stop_listening(listener)


def test_of_many_that_start_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    won: list[socket.socket] = []
    lost: list[StorageError] = []
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        try:
            won.append(listen(path))
        except StorageError as error:
            lost.append(error)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
    connect(path, 5).close()
    stop_listening(won[0])


def test_what_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("precious")
    with pytest.raises(StorageError, match="is no socket; remove it"):
        listen(path)
    assert path.read_text() == "precious"
    (tmp_path / "link.sock").symlink_to(path)
    with pytest.raises(StorageError, match="is no socket"):
        listen(tmp_path / "link.sock")


def test_places_where_none_can_be(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="path too long"):
        listen(tmp_path / ("n" * 120))
    with pytest.raises(StorageError, match=r"cannot listen here \(File exists\)|Not a directory"):
        (tmp_path / "file").touch()
        listen(tmp_path / "file" / "s.sock")


def test_stopping_wakes_who_waits_and_may_be_repeated(tmp_path: Path) -> None:
    listener = listen(tmp_path / "s.sock")
    ended = threading.Event()

    def serve() -> None:
        with pytest.raises(OSError, match=r"Invalid argument|Bad file descriptor"):
            listener.accept()
        ended.set()

    thread = threading.Thread(target=serve)
    thread.start()
    stop_listening(listener)
    assert ended.wait(30)
    thread.join()
    # A socket that has since been made in its place is not removed.
    again = listen(tmp_path / "s.sock")
    stop_listening(listener)
    assert (tmp_path / "s.sock").exists()
    stop_listening(again)


def test_a_client_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"s.sock: the service does not run; start it: ") as caught:
        connect(tmp_path / "s.sock", 1)
    assert caught.value.exit_code == 5
    listener = listen(tmp_path / "s.sock", backlog=0)
    first = connect(tmp_path / "s.sock", 1)
    with pytest.raises(ServiceError, match="the service does not answer"):
        connect(tmp_path / "s.sock", 0.1)
    first.close()
    stop_listening(listener)


def test_access_that_is_denied_names_the_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen(tmp_path / "s.sock")

    def denied(self: socket.socket, address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", denied)
    group = (tmp_path / "s.sock").group()
    with pytest.raises(ServiceError, match=f"access is denied; run sudo usermod -aG {group} "):
        connect(tmp_path / "s.sock", 1)
    monkeypatch.undo()
    stop_listening(listener)
