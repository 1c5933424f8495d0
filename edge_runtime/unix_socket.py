"""Unix stream sockets at a path: taking one over from a process that died, and finding the service."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import ServiceError, StorageError

RETRY_S = 0.02


def listen(path: Path, backlog: int = 8, mode: int = 0o660) -> socket.socket:
    """Listen at `path`, whose folder is made if it is missing.

    A socket that nobody answers at (its process was killed) is replaced.

    Args:
        path: at most 107 bytes long.
        backlog: connections that wait to be accepted; more are turned away.
        mode: permissions of the socket; connecting takes the right to write.

    Returns:
        A blocking stream socket; end it with `stop_listening`.

    Raises:
        StorageError: somebody answers at `path`, it is no socket, or it cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Before bind, so that the socket never has more permissions than `mode`; bind takes the umask's off.
        os.fchmod(listener.fileno(), mode)
        path.parent.mkdir(0o750, parents=True, exist_ok=True)
        with _locked(path.parent):
            _remove_stale(path)
            listener.bind(str(path))
            path.chmod(mode)
            listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise StorageError(
            f"cannot listen here ({error.strerror or error})",
            where=path,
            fix="set CFVGG_RUNTIME_DIR to another folder",
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def stop_listening(listener: socket.socket) -> None:
    """Remove a listener's path, if it has one, and close it; a thread that waits in `accept` gets an OSError.

    May be called more than once; never raises.
    """
    if listener.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            # While it is open nobody else can have taken the path.
            Path(listener.getsockname()).unlink()
    with contextlib.suppress(OSError):
        # Closing alone would leave a waiting `accept` waiting.
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connect(path: Path, timeout_s: float) -> socket.socket:
    """Connect to the service that listens at `path`.

    Returns:
        A stream socket whose operations time out after `timeout_s` seconds.

    Raises:
        ServiceError: nobody listens there, access is denied, or nobody answers in time.
    """
    deadline_s = time.monotonic() + timeout_s
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(timeout_s)
    try:
        while True:
            try:
                client.connect(str(path))
                return client
            except BlockingIOError:
                # Too many wait to be accepted; unlike TCP, Linux says so at once.
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(RETRY_S)
    except OSError as error:
        client.close()
        raise _service_error(path, error) from error


def _service_error(path: Path, error: OSError) -> ServiceError:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        fix = "start it: systemctl start cfvgg-edge, or cfvgg-edge run"
        return ServiceError("the service does not run", where=path, fix=fix)
    if isinstance(error, PermissionError):
        # Who may not enter the folder does not see the socket either.
        group = _group(path) or _group(path.parent) or "its group"
        return ServiceError(
            "access is denied", where=path, fix=f"run sudo usermod -aG {group} $USER, log in again"
        )
    if isinstance(error, BlockingIOError | TimeoutError):
        return ServiceError(
            "the service does not answer", where=path, fix="restart it: systemctl restart cfvgg-edge"
        )
    return ServiceError(f"cannot connect ({error.strerror or error})", where=path)


def _group(path: Path) -> str | None:
    with contextlib.suppress(OSError, KeyError):
        return path.group()
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """From finding a stale socket to listening in its place, no other process may do the same."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise StorageError(
            "is no socket", where=path, fix="remove it, or set CFVGG_RUNTIME_DIR to another folder"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # So that a full queue of connections is an error and no wait.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise StorageError(
        "another cfvgg-edge listens here", where=path, fix="stop it: systemctl stop cfvgg-edge"
    )
