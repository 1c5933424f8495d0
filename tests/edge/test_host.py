from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_runtime import host
from edge_runtime.host import Host, HostStatus


def firmware(root: Path, text: str, soc: str = "soc") -> None:
    folder = root / "sys/devices/platform" / soc / "soc:firmware"
    folder.mkdir(parents=True)
    (folder / "get_throttled").write_text(text)


@pytest.mark.parametrize(("text", "bits"), [("0\n", 0), ("50005\n", 0x50005), ("0x80008\n", 0x80008)])
@pytest.mark.parametrize("soc", ["soc", "soc@107c000000"])
def test_throttled_bits_are_read_as_hexadecimal(tmp_path: Path, text: str, bits: int, soc: str) -> None:
    firmware(tmp_path, text, soc)
    assert Host(root=tmp_path).status().throttled == bits


def test_unknown_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "kernel_clock_synced", lambda: None)
    assert Host(root=tmp_path).status() == HostStatus(None, None)
    firmware(tmp_path, "garbage")
    assert Host(root=tmp_path).status().throttled is None


@pytest.mark.parametrize("kernel", [True, False, None])
def test_the_clock_is_synced_if_timesyncd_or_the_kernel_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool | None
) -> None:
    monkeypatch.setattr(host, "kernel_clock_synced", lambda: kernel)
    assert Host(root=tmp_path).status().clock_synced is kernel
    mark = tmp_path / "run/systemd/timesync/synchronized"
    mark.parent.mkdir(parents=True)
    mark.touch()
    assert Host(root=tmp_path).status().clock_synced is True


def test_the_kernel_answers_without_harm() -> None:
    assert host.kernel_clock_synced() in (True, False, None)


@pytest.mark.parametrize(("state", "expected"), [(0, True), (1, True), (5, False), (-1, None)])
def test_kernel_states(monkeypatch: pytest.MonkeyPatch, state: int, expected: bool | None) -> None:
    class Library:
        def __init__(self, name: None) -> None: ...

        def adjtimex(self, buffer: object) -> int:
            return state

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert host.kernel_clock_synced() is expected


def test_readings_are_kept_for_a_while(tmp_path: Path) -> None:
    firmware(tmp_path, "0")
    kept, fresh = Host(refresh_s=1e6, root=tmp_path), Host(refresh_s=0, root=tmp_path)
    assert (kept.status().throttled, fresh.status().throttled) == (0, 0)
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("4")
    assert (kept.status().throttled, fresh.status().throttled) == (0, 4)


def test_memory_calls_that_a_library_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    whole = SimpleNamespace(malloc_trim=lambda pad: calls.append((pad,)), mallopt=lambda *a: calls.append(a))
    for library in (whole, SimpleNamespace()):
        monkeypatch.setattr(ctypes, "CDLL", lambda name, library=library: library)
        host.keep_memory_small()
        host.release_memory()
    assert calls == [(-8, 1), (-3, 1 << 18), (0,)]


def test_what_only_a_cycle_holds_is_freed_and_what_was_there_is_not_looked_at() -> None:
    class Holder:
        itself: object

    gc.disable()
    try:
        host.settle_memory()
        frozen = gc.get_freeze_count()
        later = Holder()
        later.itself, gone = later, weakref.ref(later)
        del later
        assert gone() is not None
        host.release_memory()
        assert gone() is None
        assert gc.get_freeze_count() <= frozen
        assert frozen > 1000
    finally:
        gc.unfreeze()
        gc.enable()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="not glibc")
def test_released_memory_is_the_systems() -> None:
    """Small pieces with a hole between them: what a fragmented heap is made of."""
    measure = """
import ctypes
from edge_runtime.host import release_memory
from edge_runtime.status import resident_mb
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
pieces = [libc.malloc(60_000) for _ in range(1000)]
for piece in pieces:
    ctypes.memset(piece, 1, 60_000)
for piece in pieces[:-1]:
    libc.free(ctypes.c_void_p(piece))
before = resident_mb()
release_memory()
print(before - resident_mb())
"""
    out = subprocess.run([sys.executable, "-c", measure], check=True, capture_output=True, text=True).stdout
    assert float(out) > 40
