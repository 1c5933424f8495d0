"""Bundles that come into the store, or do not."""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_runtime.deployment import archive, store
from edge_runtime.deployment.archive import Pipe, copy, unpack
from edge_runtime.deployment.contents import verified
from edge_runtime.deployment.store import Store
from edge_runtime.errors import BundleError, CfvggError, StorageError, StoreError
from tests.edge.bundles import id_of, made_up, member, renamed, summed, tar_of

Fill = Callable[[Path], None]


def no_restart() -> None:
    raise AssertionError("nothing was cut off")


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", tmp_path / "allowed_signers")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return made_up(tmp_path / "bundle")


def from_tar(data: bytes) -> Fill:
    return lambda folder: unpack(io.BytesIO(data), folder)


def from_folder(source: Path) -> Fill:
    return lambda folder: copy(source, folder)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_a_bundle_comes_in_from_a_folder_and_as_an_archive(kept: Store, bundle: Path, tmp_path: Path) -> None:
    other = renamed(bundle, tmp_path / "other", "other")
    for fill, source in ((from_folder(bundle), bundle), (from_tar(tar_of(other)), other)):
        added = kept.add(fill, no_restart)
        assert (added.id, added.added, added.signed_by) == (id_of(source), True, None)
        for path in source.rglob("*"):
            if path.is_file():
                here = kept.folder / added.id / path.relative_to(source)
                assert here.read_bytes() == path.read_bytes()
                assert here.stat().st_mode & 0o777 == 0o644
        assert all(p.stat().st_mode & 0o777 == 0o755 for p in kept.folder.rglob("*") if p.is_dir())
    assert names(kept.folder) == {id_of(bundle), id_of(other)}
    assert {(k.id, k.name) for k in kept.kept()} == {(id_of(bundle), "made up"), (id_of(other), "other")}
    assert kept.selection.current is None


def test_what_is_there_already_is_looked_at_again(kept: Store, bundle: Path) -> None:
    kept.add(from_folder(bundle), no_restart)
    place = kept.folder / id_of(bundle)
    before = place.stat().st_ino
    assert not kept.add(from_folder(bundle), no_restart).added
    assert place.stat().st_ino == before
    (place / "int8.tflite").write_bytes(b"rotten")
    with pytest.raises(BundleError, match="checksum does not match"):
        kept.check(id_of(bundle))
    assert kept.add(from_folder(bundle), no_restart).added
    kept.check(id_of(bundle))


def test_another_bundle_than_the_one_that_is_wanted(kept: Store, bundle: Path) -> None:
    with pytest.raises(BundleError, match=f"is bundle {id_of(bundle)[:12]}, not abababababab"):
        kept.add(from_folder(bundle), no_restart, "ab" * 32)
    assert names(kept.folder) == set()


def with_link(folder: Path) -> None:
    (folder / "int8.tflite").unlink()
    (folder / "int8.tflite").symlink_to("/etc/passwd")


def with_extra(folder: Path) -> None:
    (folder / "extra.py").write_text("print()")


def without_model(folder: Path) -> None:
    (folder / "int8.tflite").unlink()


def with_changed_model(folder: Path) -> None:
    (folder / "int8.tflite").write_bytes(b"other")


def with_other_format(folder: Path) -> None:
    text = (folder / "manifest.json").read_text().replace("cfvgg-bundle/1", "cfvgg-bundle/9")
    (folder / "manifest.json").write_text(text)
    summed(folder)


def without_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    summed(folder)


def with_name_outside(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  ../../etc/passwd\n")


def without_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


def with_pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_link, "int8.tflite: is a link or a device, no file"),
        (with_pipe, "pipe: is a link or a device, no file"),
        (with_extra, "extra.py: is not listed in SHA256SUMS"),
        (without_model, "int8.tflite: is missing"),
        (with_changed_model, "int8.tflite: checksum does not match SHA256SUMS"),
        (with_other_format, "has format 'cfvgg-bundle/9', expected 'cfvgg-bundle/1'"),
        (without_manifest, "does not list manifest.json"),
        (with_name_outside, "has a bad line"),
        (without_sums, "SHA256SUMS: cannot be read"),
    ],
)
def test_a_folder_that_is_not_what_it_says(
    kept: Store, bundle: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(bundle)
    with pytest.raises(BundleError) as caught:
        kept.add(from_folder(bundle), no_restart)
    assert said in str(caught.value)
    assert names(kept.folder) == set()


def test_no_folder_at_all(kept: Store, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: is not a bundle folder"):
        kept.add(from_folder(tmp_path / "nowhere"), no_restart)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (member("../evil"), "../evil: is a name that leads elsewhere"),
        (member("report/../../evil"), "is a name that leads elsewhere"),
        (member("/etc/evil"), "/etc/evil: is a name that leads elsewhere"),
        (member("a/" * 9 + "evil"), "is a name that leads elsewhere"),
        (member("evil\n"), "is a name that leads elsewhere"),
        (member("link", tarfile.SYMTYPE, "/etc"), "link: is a link or a device, no file"),
        (member("link", tarfile.LNKTYPE, "manifest.json"), "link: is a link or a device, no file"),
        (member("null", tarfile.CHRTYPE), "null: is a link or a device, no file"),
        (member("pipe", tarfile.FIFOTYPE), "pipe: is a link or a device, no file"),
        (member("manifest.json"), "manifest.json: is there twice"),
        (member("extra"), "extra: is not listed in SHA256SUMS"),
    ],
)
def test_archives_that_hold_something_else(
    kept: Store, bundle: Path, more: tarfile.TarInfo, said: str
) -> None:
    with pytest.raises(BundleError) as caught:
        kept.add(from_tar(tar_of(bundle, (more, b"evil"))), no_restart)
    assert said in str(caught.value)
    assert names(kept.folder) == set()
    assert not list(kept.folder.parent.rglob("evil"))


def test_an_archive_that_is_cut_off_anywhere(kept: Store, bundle: Path) -> None:
    whole = tar_of(bundle)
    for length in range(0, len(whole.rstrip(b"\0")), 500):
        with pytest.raises(BundleError):
            kept.add(from_tar(whole[:length]), no_restart)
    assert names(kept.folder) == set()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_archive_is_refused_or_whole(tmp_path: Path, data: st.DataObject) -> None:
    source, folder = tmp_path / "whole", tmp_path / "unpacked"
    whole = bytearray(tar_of(source if source.exists() else made_up(source)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        unpack(io.BytesIO(bytes(whole)), folder)
        contents = verified(folder)
    except CfvggError:
        return
    assert contents.id == id_of(source)


def test_what_is_no_archive(kept: Store) -> None:
    for data in (b"", b"no archive", os.urandom(20_000), b"\0" * 1024):
        with pytest.raises(BundleError):
            kept.add(from_tar(data), no_restart)


def test_a_connection_that_stands_still_is_given_up() -> None:
    here, there = os.pipe()
    try:
        os.write(there, b"some")
        pipe = io.BufferedReader(Pipe(here, stall_s=0.1))
        with pytest.raises(BundleError, match="nothing has come for"):
            pipe.read(1000)
    finally:
        os.close(here)
        os.close(there)


def test_what_comes_in_pieces_is_one_archive(kept: Store, bundle: Path) -> None:
    whole = tar_of(bundle)
    here, there = os.pipe()

    def send() -> None:
        with os.fdopen(there, "wb", buffering=0) as pipe:
            for start in range(0, len(whole), 777):
                pipe.write(whole[start : start + 777])

    threading.Thread(target=send).start()
    with os.fdopen(here, "rb", buffering=0):
        added = kept.add(lambda folder: unpack(io.BufferedReader(Pipe(here)), folder), no_restart)
    assert added.id == id_of(bundle)


def test_more_than_any_bundle_has(kept: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 3)
    with pytest.raises(BundleError, match="is no bundle: more than 512 MB or 3 files"):
        kept.add(from_tar(tar_of(bundle)), no_restart)
    monkeypatch.setattr(archive, "MOST_FILES", 100)
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    with pytest.raises(BundleError, match="is no bundle"):
        kept.add(from_folder(bundle), no_restart)
    assert names(kept.folder) == set()


def test_a_disk_without_room_is_said_before(
    kept: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil._ntuple_diskusage  # type: ignore[attr-defined]  # what shutil itself returns
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 20_000_500))
    with pytest.raises(
        StorageError, match="has 20 MB free, a bundle of this size needs 20; cfvgg-edge bundle"
    ):
        kept.add(from_tar(tar_of(bundle)), no_restart)
    assert names(kept.folder) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SPARE_BYTES", -(10**9))  # as if others wrote at the same time
    kept = Store(small_disk / "store", tmp_path / "allowed_signers")
    small, large = made_up(tmp_path / "small"), made_up(tmp_path / "large", "large", 300_000)
    kept.add(from_folder(small), no_restart)
    with pytest.raises(StorageError, match="No space left on device"):
        kept.add(from_tar(tar_of(large)), no_restart)
    assert names(kept.folder) == {id_of(small)}
    kept.check(id_of(small))


def test_a_bundle_is_found_by_its_first_digits(kept: Store, bundle: Path) -> None:
    kept.add(from_folder(bundle), no_restart)
    whole = id_of(bundle)
    assert kept.find(whole[:8]) == kept.find(whole) == whole
    for wrong in ("", whole[:7], whole[:8].upper() + "G", "../" + whole, "current"):
        with pytest.raises(StoreError, match="is no bundle's id; give 8 digits"):
            kept.find(wrong)
    with pytest.raises(StoreError, match="no bundle is called 0123456789"):
        kept.find("0123456789")
    (kept.folder / (whole[:10] + "0" * 54)).mkdir()
    with pytest.raises(StoreError, match=f"2 bundles are called {whole[:9]}"):
        kept.find(whole[:9])


def test_old_bundles_are_removed_but_none_that_is_needed(kept: Store, bundle: Path, tmp_path: Path) -> None:
    ids = []
    for number in range(6):
        other = renamed(bundle, tmp_path / f"b{number}", f"number {number}")
        ids.append(kept.add(from_folder(other), no_restart).id)
        os.utime(kept.folder / ids[-1], (1000 + number, 1000 + number))
    kept.selection.switch(ids[0])
    kept.selection.switch(ids[1])
    assert [k.id for k in kept.kept()] == ids[::-1]
    with kept.changing(no_restart):
        assert kept.prune(2) == [ids[3], ids[2]]
        assert kept.prune(2) == []
        assert set(kept.prune(0)) == {ids[4], ids[5]}
    assert names(kept.folder) == {ids[0], ids[1], "current", "previous"}


def test_one_command_at_a_time(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOCK_WAIT_S", 0.1)
    other = Store(kept.folder, kept.signers)
    with (
        kept.changing(no_restart),
        pytest.raises(StoreError, match="another command is changing bundles"),
        other.changing(no_restart),
    ):
        pytest.fail("two at a time")
    with other.changing(no_restart):
        pass


def test_an_upload_that_stands_still_keeps_nobody_waiting(kept: Store, bundle: Path, tmp_path: Path) -> None:
    """And a command that clears up leaves it alone; what a killed upload left goes."""
    other = renamed(bundle, tmp_path / "other", "other")
    left = kept.folder / ".incoming-killed"

    def slowly(folder: Path) -> None:
        left.mkdir()
        (left / "half").write_text("")
        assert kept.add(from_folder(other), no_restart).added
        assert folder.is_dir()
        assert not left.exists()
        copy(bundle, folder)

    assert kept.add(slowly, no_restart).added
    assert names(kept.folder) == {id_of(bundle), id_of(other)}


def test_a_folder_that_may_not_be_written(kept: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != kept.folder)
    with pytest.raises(StorageError, match="may not be written by this user; run it with sudo"):
        kept.add(from_folder(bundle), no_restart)


def test_the_lock_goes_with_its_owner(kept: Store) -> None:
    with kept.changing(no_restart):
        handle = os.open(kept.folder / ".lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)
