"""Writing files so that a reader sees the old content or the new one, never a half."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.errors import StorageError


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing `path` into a one-line `StorageError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot be written ({reason})", where=path, fix="free space or choose another place"
        ) from error


def write_atomic(path: Path, data: bytes, mode: int = 0o644, group_id: int = -1) -> None:
    """Replace `path` by `data`: temporary file beside it, fsync, rename.

    Args:
        path: its folder is made if it is missing.
        data: the whole content.
        mode: permissions of the new file.
        group_id: its group; -1 for the process's own.

    Raises:
        StorageError: the disk is full or the folder not writable; `path` is as it was.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chown(name, -1, group_id)
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        fsync_folder(path.parent)


@contextlib.contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place when the block succeeds.

    An existing folder is moved aside first and removed last, so a crash leaves one of the two.

    Raises:
        StorageError: writing or moving failed; `path` is as it was.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield staging
            for file in sorted(p for p in staging.rglob("*") if p.is_file()):
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
            fsync_folder(staging)
            staging.chmod(0o755)
            _swap_folders(staging, path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _swap_folders(new: Path, path: Path) -> None:
    aside = new.with_name(new.name + ".old")
    replaced = path.exists()
    if replaced:
        path.replace(aside)
    try:
        new.replace(path)
    except OSError:
        if replaced:
            aside.replace(path)
        raise
    fsync_folder(path.parent)
    if replaced:
        shutil.rmtree(aside, ignore_errors=True)


def fsync_folder(path: Path) -> None:
    """Make renames inside `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
