from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.status import duration, resident_mb, screen

STATUS: dict[str, Any] = {
    "device": "gate",
    "pid": 812,
    "uptime_s": 93784.0,
    "source": {
        "uri": "picamera2:",
        "frame_size": [640, 480],
        "condition": "running",
        "restarts": 2,
        "dropped": {"overrun": 14, "corrupt": 0},
    },
    "loop": {"frames": 2813401, "last_frame_s": 0.03, "rate_hz": 29.97, "p50_ms": 8.1, "p95_ms": 11.9},
    "model": "fkcf, cf-vgg int8, sha256 799fe3c1e5f2",
    "paused": False,
    "targets": [
        {"track_id": 4, "state": "lost", "box": [10.2, 20, 30, 40], "confidence": 0.031, "lost_s": 75.0}
    ],
    "publishers": {"mqtt": {"sent": 10, "dropped": 3}},
    "watched": False,
    "memory_mb": 96.2,
    "host": {"clock_synced": True, "throttled": 0x50001, "temperature_celsius": 61.3},
}


def test_one_screen_says_it_all() -> None:
    assert screen(STATUS).splitlines() == [
        "service     gate, pid 812, up 1 d 2 h",
        "source      picamera2:, 640x480 px, running, opened again 2 times",
        "frames      2813401 done, last 0.0 s ago; dropped: overrun 14",
        "rate        30.0 Hz; tracker p50 8.1 ms, p95 11.9 ms",
        "model       fkcf, cf-vgg int8, sha256 799fe3c1e5f2",
        "target 4    lost for 1 min 15 s, confidence 0.03, box 10,20,30,40",
        "mqtt        10 sent, 3 dropped",
        "preview     not watched",
        "memory      96 MB",
        "host        clock synchronised; 61 °C; undervoltage, throttled (earlier)",
    ]


def test_what_is_not_known_yet_is_said() -> None:
    nothing = {"frames": 0, "last_frame_s": None, "rate_hz": None, "p50_ms": None, "p95_ms": None}
    host = {"clock_synced": None, "throttled": None, "temperature_celsius": None}
    text = screen(STATUS | {"loop": nothing, "targets": [], "memory_mb": None, "host": host, "watched": True})
    assert "no frame yet" in text
    assert "unknown; tracker not running" in text
    assert "targets     none; searching" in text
    assert "preview     watched" in text
    assert "memory      unknown" in text
    assert "clock unknown; throttling unknown" in text
    assert "targets     paused" in screen(STATUS | {"paused": True, "targets": []})


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.42, "0.4 s"), (42, "42 s"), (302, "5 min 2 s"), (7500, "2 h 5 min"), (360000, "4 d 4 h")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_memory_is_that_of_this_process() -> None:
    memory_mb = resident_mb()
    assert memory_mb is not None
    assert 10 < memory_mb < 10_000
