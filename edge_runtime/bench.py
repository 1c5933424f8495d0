"""How fast this device tracks, and which of a bundle's models is the faster one here.

The answer differs: int8 wins where the processor has dot-product instructions, float32 often without them.
So it is measured with the tracker that is configured, and remembered for `model.dtype = "auto"`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.bundle import Bundle
from edge_runtime.errors import StorageError
from edge_runtime.features import NetworkFeatures
from edge_runtime.files import write_atomic
from edge_runtime.interpreter import find_runtime
from edge_runtime.sources.fake import FakeScript, FakeSource
from edge_runtime.state_folder import state_folder
from edge_runtime.types import Frame, Tracker

FILE = "bench.json"
WARM_UP_FRAMES = 10
ROUND_FRAMES = 30  # the models take turns, so that heat and other work meet both

MakeTracker = Callable[[NetworkFeatures | None], Tracker]


@dataclass(frozen=True)
class Speed:
    """Of one model: percentiles of the tracker's time for a frame, milliseconds."""

    p50_ms: float
    p95_ms: float
    frames: int


def measure(
    make_tracker: MakeTracker,
    networks: Mapping[str, NetworkFeatures | None],
    frame_size: tuple[int, int],
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Speed]:
    """Track the built-in scene with each network, in turns.

    Args:
        make_tracker: of a network's features.
        networks: by name.
        frame_size: (width, height) in pixels.
        rounds: of 30 frames each.
        progress: called with rounds done and their number.
    """
    script = FakeScript(frames=1_000_000, width=frame_size[0], height=frame_size[1], target_px=64)
    source = FakeSource(script)
    runs = {name: _latencies(make_tracker(features), source) for name, features in networks.items()}
    latencies_ms: dict[str, list[float]] = {name: [] for name in networks}
    for run in runs.values():
        _take(run, WARM_UP_FRAMES)
    for done in range(rounds):
        for name, run in runs.items():
            latencies_ms[name] += _take(run, ROUND_FRAMES)
        progress(done + 1, rounds)
    return {name: _speed(values) for name, values in latencies_ms.items()}


def _latencies(tracker: Tracker, source: FakeSource) -> Iterator[float]:
    tracker.init(source.image(0), source.box(0))
    index = 0
    while True:
        index += 1
        image: Frame = source.image(index)
        yield tracker.update(image).latency_ms


def _take(run: Iterator[float], count: int) -> list[float]:
    return [next(run) for _ in range(count)]


def _speed(latencies_ms: list[float]) -> Speed:
    p50_ms, p95_ms = np.percentile(latencies_ms, [50, 95])
    return Speed(round(float(p50_ms), 3), round(float(p95_ms), 3), len(latencies_ms))


def remember(bundle: Bundle, preset: str, speeds: Mapping[str, Speed]) -> str:
    """Keep the faster model in mind for this processor, runtime, bundle and preset; returns its name.

    Raises:
        StorageError: the state folder cannot be written.
    """
    best = min(speeds, key=lambda name: speeds[name].p50_ms)
    known = _read()
    known[_key(bundle, preset)] = {
        "dtype": best,
        "speeds": {name: asdict(speed) for name, speed in speeds.items()},
    }
    path = state_folder() / FILE
    try:
        write_atomic(path, json.dumps(known, indent=1).encode())
    except StorageError as error:
        raise StorageError(error.what, where=path, fix="run it with sudo, or set CFVGG_STATE_DIR") from error
    return best


def remembered(bundle: Bundle, preset: str) -> str | None:
    """The faster model as far as it has been measured here."""
    entry = _read().get(_key(bundle, preset))
    dtype = entry.get("dtype") if isinstance(entry, dict) else None
    return dtype if isinstance(dtype, str) and dtype in bundle.manifest.models else None


def _read() -> dict[str, Any]:
    try:
        known = json.loads((state_folder() / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):  # not measured yet; a damaged file is measured anew
        return {}
    return known if isinstance(known, dict) else {}


def _key(bundle: Bundle, preset: str) -> str:
    models = ",".join(info.sha256[:12] for _, info in sorted(bundle.manifest.models.items()))
    return f"{processor()}; {find_runtime()[0]}; {preset}; {models}"


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself, with the instructions that decide."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    fields: dict[str, str] = {}
    for name, colon, value in (line.partition(":") for line in lines):
        if colon:
            fields.setdefault(name.strip(), value.strip())
    arm = f"implementer {fields.get('CPU implementer', '?')} part {fields.get('CPU part', '?')}"
    name = fields.get("model name") or arm
    flags = (fields.get("Features") or fields.get("flags") or "").split()
    deciding = [flag for flag in ("asimddp", "i8mm", "avx2", "avx512_vnni", "avx_vnni") if flag in flags]
    return f"{platform.machine()} {name} {' '.join(deciding)}".strip()
