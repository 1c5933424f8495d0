"""What a running service says about itself, and the one screen that `cfvgg-edge status` shows of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

THROTTLE_BITS = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}
SINCE_START_BITS = 16
PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_mb() -> float | None:
    """Memory that this process holds, MB; None where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * PAGE / 1e6


def screen(status: Mapping[str, Any]) -> str:
    """The lines for a person; `status` is what the command "status" answers."""
    return "\n".join(f"{name:<11} {text}" for name, text in _lines(status))


def _lines(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    source, loop, host = status["source"], status["loop"], status["host"]
    width, height = source["frame_size"]
    yield "service", f"{status['device']}, pid {status['pid']}, up {duration(status['uptime_s'])}"
    restarts = source["restarts"]
    again = f"opened again {restarts} time{'' if restarts == 1 else 's'}"
    yield "source", f"{source['uri']}, {width}x{height} px, {source['condition']}, {again}"
    dropped = ", ".join(f"{reason} {count}" for reason, count in source["dropped"].items() if count)
    age = "no frame yet" if loop["last_frame_s"] is None else f"last {loop['last_frame_s']:.1f} s ago"
    yield "frames", f"{loop['frames']} done, {age}; dropped: {dropped or 'none'}"
    yield "rate", _rate(loop)
    yield "model", status["model"]
    yield from _targets(status)
    for name, counts in status["publishers"].items():
        yield name, f"{counts['sent']} sent, {counts['dropped']} dropped"
    yield "preview", "watched" if status["watched"] else "not watched"
    yield "memory", "unknown" if status["memory_mb"] is None else f"{status['memory_mb']:.0f} MB"
    yield "host", "; ".join(_host(host))


def _rate(loop: Mapping[str, Any]) -> str:
    rate = "unknown" if loop["rate_hz"] is None else f"{loop['rate_hz']:.1f} Hz"
    if loop["p50_ms"] is None:
        return f"{rate}; tracker not running"
    return f"{rate}; tracker p50 {loop['p50_ms']:.1f} ms, p95 {loop['p95_ms']:.1f} ms"


def _targets(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if status["paused"]:
        yield "targets", "paused"
    elif not status["targets"]:
        yield "targets", "none; searching"
    for target in status["targets"]:
        box = ",".join(f"{value:.0f}" for value in target["box"])
        lost = f" for {duration(target['lost_s'])}" if target["lost_s"] else ""
        sure = f"confidence {target['confidence']:.2f}"
        yield f"target {target['track_id']}", f"{target['state']}{lost}, {sure}, box {box}"


def _host(host: Mapping[str, Any]) -> Iterator[str]:
    synced = {True: "clock synchronised", False: "clock NOT synchronised", None: "clock unknown"}
    yield synced[host["clock_synced"]]
    if host["temperature_celsius"] is not None:
        yield f"{host['temperature_celsius']:.0f} °C"
    bits = host["throttled"]
    if bits is None:
        yield "throttling unknown"
    elif not bits:
        yield "not throttled"
    else:
        yield ", ".join(
            f"{name}{'' if bits & 1 << bit else ' (earlier)'}"
            for bit, name in THROTTLE_BITS.items()
            if bits & (1 << bit | 1 << bit + SINCE_START_BITS)
        )


def duration(seconds: float) -> str:
    """Seconds as a person reads them: "3 d 4 h", "5 min 2 s", "0.4 s"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"
