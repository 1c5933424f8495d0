"""Memory: what is free, and what libcamera takes its buffers from."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge_runtime.config import Config
from edge_runtime.doctor.checks import Check, failure, ok, skipped, warning
from edge_runtime.doctor.machine import Machine
from edge_runtime.doctor.software import needs_libcamera

# Of contiguous memory: a camera stream takes some full-size buffers, 12 MB for each 12-megapixel one.
LEAST_CMA_MB, GOOD_CMA_MB = 32, 64
# The tracker takes 80 to 120 MB, adaptation as much as 250 MB for some seconds.
LEAST_MB, GOOD_MB = 150, 400
CMA_FIX = (
    "close other camera programs, or dtoverlay=vc4-kms-v3d,cma-256 in /boot/firmware/config.txt and reboot"
)


def memory_checks(machine: Machine, config: Config | None) -> Iterator[Check]:
    """Main memory; with libcamera also heaps and contiguous memory."""
    yield _memory(machine, config)
    if needs_libcamera(config):
        yield _heaps(machine)
        yield _contiguous(machine)
    else:
        yield skipped("dma_heap, CMA", "for cameras through libcamera only")


def _memory(machine: Machine, config: Config | None) -> Check:
    free_mb, total_mb = _megabytes(machine, "MemAvailable"), _megabytes(machine, "MemTotal")
    if free_mb is None or total_mb is None:
        return skipped("memory", "/proc/meminfo does not tell")
    found = f"{free_mb} of {total_mb} MB available"
    fix = "stop other programs, or use a board with more memory"
    if free_mb < LEAST_MB:
        return failure("memory", found, fix)
    if free_mb < GOOD_MB and config is not None and config.adapt.mode != "off":
        return warning("memory", f"{found}: little for adaptation", f'{fix}, or set adapt.mode = "off"')
    return ok("memory", found)


def _heaps(machine: Machine) -> Check:
    name, person = "dma_heap", machine.person()
    heaps = sorted(path for path in machine.path("/dev/dma_heap").glob("*") if path.exists())
    if not heaps:
        fix = "update the system (sudo apt full-upgrade) and reboot; the kernel needs CONFIG_DMABUF_HEAPS"
        return failure(name, "/dev/dma_heap has no heaps: libcamera has nowhere to put pictures", fix)
    names = ", ".join(heap.name for heap in heaps)
    # libcamera takes the first that opens; any will do.
    if any(person.may(heap, os.R_OK | os.W_OK) for heap in heaps):
        return ok(name, f"{names}, for {person.name} to use")
    fix = "sudo cfvgg-edge service install puts device rules in place"
    return failure(name, f"{person.name} may not use {names} (group {machine.group_of(heaps[0])})", fix)


def _contiguous(machine: Machine) -> Check:
    free_mb, total_mb = _megabytes(machine, "CmaFree"), _megabytes(machine, "CmaTotal")
    if not total_mb or free_mb is None:
        return failure("CMA", "the kernel keeps no contiguous memory", CMA_FIX)
    found = f"{free_mb} of {total_mb} MB free"
    if free_mb < LEAST_CMA_MB:
        return failure("CMA", found, CMA_FIX)
    return warning("CMA", found, CMA_FIX) if free_mb < GOOD_CMA_MB else ok("CMA", found)


def _megabytes(machine: Machine, name: str) -> int | None:
    """A line of /proc/meminfo, which counts in 1024 bytes."""
    kilobytes = machine.fields("/proc/meminfo").get(name, "").removesuffix(" kB")
    return int(kilobytes) * 1024 // 1_000_000 if kilobytes.isdecimal() else None
