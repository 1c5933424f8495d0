"""Does the service run for long? A process, a virtual camera with random faults, every record checked.

    python -m benchmarks.soak --minutes 60 --bundle demo/bundle --preset fkcf --out runs/soak

The camera films the built-in scene (or --show a video) at 30 frames a second; about once in `--fault-frames`
frames it stalls, is disconnected, drops, corrupts or darkens frames, changes their size, or its clock jumps.
One reader takes every record from the socket, validates it against the schema and notes how late it comes
(frame taken to record read). Another connects and never reads; a viewer comes and goes. Prints one JSON
object and, with --out, writes it, the samples as CSV and a plot there. The slope of the memory is a straight
line's through the samples after a warm-up of a tenth of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from edge_runtime.control import ask
from edge_runtime.errors import ServiceError
from edge_runtime.files import write_atomic
from edge_runtime.records import SCHEMA_FILE
from edge_runtime.unix_socket import connect

START = "import sys; from edge_runtime.cli import main; main()"
SAMPLE_S = 5.0
START_S = 120.0
VIEWER_EVERY_S, VIEWER_FOR_S = 60.0, 15.0


@dataclass
class Reader:
    """Takes every record, validates it, and counts."""

    latencies_ms: list[float] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    invalid: list[str] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)

    def read(self, path: Path) -> None:
        """Until the service ends."""
        validator = record_validator()
        with connect(path, START_S) as client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                now_ns = time.monotonic_ns()
                self.take(line, now_ns, validator)

    def take(self, line: bytes, now_ns: int, validator: Any) -> None:
        """One line."""
        try:
            record = json.loads(line)
            validator.validate(record)
        except (ValueError, jsonschema.ValidationError) as error:
            self.invalid.append(f"{error!s:.200}")
            return
        self.latencies_ms.append((now_ns - record["t_monotonic_ns"]) / 1e6)
        self.states[record["state"]] += 1
        self.ids.add(record["track_id"])


@dataclass(frozen=True)
class Sample:
    """Of the process at one time."""

    minutes: float
    memory_mb: float
    frames: int
    threads: int
    descriptors: int


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--preset", default="fkcf")
    parser.add_argument("--bundle", default="", help="none for trackers without a network")
    parser.add_argument("--show", default="", help="a video that the camera films, again and again")
    parser.add_argument("--fault-frames", type=int, default=600, help="from one fault to the next; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core", type=int, help="pin the service to this core")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cfvgg-soak-") as folder:
        result, samples = soak(args, Path(folder))
    print(json.dumps(result, indent=1), flush=True)
    if args.out is not None:
        save(args.out, result, samples)
    broken = sum(counts["invalid"] for counts in result["files"].values())
    sys.exit(bool(result["invalid_records"] or result["exceptions"] or result["exit_status"] or broken))


def soak(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], list[Sample]]:
    """Run the service for a time; figures and samples."""
    log = folder / "log.txt"
    runtime = folder / "run"
    tracks = folder / "tracks.jsonl"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(args, tracks),
            stdout=file,
            stderr=file,
            env=os.environ | {"CFVGG_RUNTIME_DIR": str(runtime)},
        )
        try:
            wait_for(process, runtime)
            if args.core is not None:
                os.sched_setaffinity(process.pid, {args.core})
            reader = Reader()
            thread = threading.Thread(target=reader.read, args=(runtime / "tracks.sock",), daemon=True)
            thread.start()
            samples, status = watch(process, runtime, args.minutes)
            process.send_signal(signal.SIGTERM)
            exit_status = process.wait(30)
        finally:
            process.kill()
    thread.join(10)
    text = log.read_text(errors="replace")
    result = figures(args, reader, samples, status, exit_status=exit_status, log=text)
    return result | {"files": {path.name: checked(path) for path in folder.glob("tracks.jsonl*")}}, samples


def checked(path: Path) -> dict[str, int]:
    """Whole records of a file, and lines that are none."""
    reader, validator = Reader(), record_validator()
    for line in path.read_bytes().splitlines(keepends=True):
        reader.take(line, 0, validator)
    return {"records": sum(reader.states.values()), "invalid": len(reader.invalid)}


def record_validator() -> Any:
    """Of the schema."""
    return jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))


def command(args: argparse.Namespace, tracks: Path) -> list[str]:
    """How the service is started."""
    uri = f"fake:live=true&seed={args.seed}"
    if args.show:
        uri += f"&show={args.show}"
    if args.fault_frames:
        uri += f"&faults=random@{args.fault_frames}:{args.seed}"
    options = ["--source", uri, "--preset", args.preset, "--set", 'target.start="motion"']
    options += ["--set", "target.max_lost_s=20", "--set", "target.motion.frames=3"]
    # Rotating: some minutes in each file.
    options += ["--tracks", str(tracks), "--set", "output.tracks_max_mb=4", "--set", "output.tracks_keep=3"]
    options += ["--set", 'udp.host="127.0.0.1"']
    if args.bundle:
        options += ["--bundle", args.bundle]
    return [sys.executable, "-c", START, "run", *options]


def wait_for(process: subprocess.Popen[bytes], runtime: Path) -> None:
    """Until the first frames are through."""
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(ServiceError):
            if status_of(runtime)["loop"]["frames"] > 0:
                return
        time.sleep(0.2)
    sys.exit("soak: the service does not start")


def status_of(runtime: Path) -> dict[str, Any]:
    """What the command "status" answers."""
    return dict(ask(runtime / "control.sock", {"command": "status"})["status"])


def watch(
    process: subprocess.Popen[bytes], runtime: Path, minutes: float
) -> tuple[list[Sample], dict[str, Any]]:
    """Samples every few seconds; a reader that never reads, and a viewer now and then."""
    start_s, samples, status = time.monotonic(), [], dict[str, Any]()
    with contextlib.ExitStack() as idle:
        idle.enter_context(connect(runtime / "tracks.sock", 10))
        while (now_s := time.monotonic() - start_s) < minutes * 60 and process.poll() is None:
            status = status_of(runtime)
            samples.append(sample(process.pid, now_s / 60, status))
            if now_s % VIEWER_EVERY_S < SAMPLE_S:
                threading.Thread(target=view, args=(runtime / "preview.sock",), daemon=True).start()
            time.sleep(SAMPLE_S)
    return samples, status


def view(path: Path) -> None:
    """Look at the preview for a while."""
    end_s = time.monotonic() + VIEWER_FOR_S
    with contextlib.suppress(OSError), connect(path, 10) as client:
        client.sendall(b'{"width": 320}\n')
        while time.monotonic() < end_s and client.recv(65536):
            pass


def sample(pid: int, minutes: float, status: dict[str, Any]) -> Sample:
    """Of a process, from /proc."""
    proc = Path(f"/proc/{pid}")
    pages = int((proc / "statm").read_text().split()[1])
    threads, descriptors = (len(list((proc / name).iterdir())) for name in ("task", "fd"))
    memory_mb = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    return Sample(round(minutes, 3), round(memory_mb, 2), status["loop"]["frames"], threads, descriptors)


def figures(
    args: argparse.Namespace,
    reader: Reader,
    samples: list[Sample],
    status: dict[str, Any],
    *,
    exit_status: int,
    log: str,
) -> dict[str, Any]:
    """What came of it."""
    warm = [s for s in samples if s.minutes >= args.minutes / 10]
    slope_mb_h = None
    if len(warm) > 2:
        slope_mb_h = float(np.polyfit([s.minutes / 60 for s in warm], [s.memory_mb for s in warm], 1)[0])
    p50_ms, p95_ms, p99_ms = np.percentile(reader.latencies_ms or [np.nan], [50, 95, 99])
    return {
        "minutes": round(samples[-1].minutes, 1),
        "preset": args.preset,
        "frames": status["loop"]["frames"],
        "camera_restarts": status["source"]["restarts"],
        "dropped": status["source"]["dropped"],
        "records": sum(reader.states.values()),
        "states": dict(reader.states),
        "targets": len(reader.ids),
        "invalid_records": len(reader.invalid),
        "exceptions": log.count("Traceback"),
        "exit_status": exit_status,
        "memory_mb": {"first": samples[0].memory_mb, "warm": warm[0].memory_mb, "last": warm[-1].memory_mb},
        "memory_slope_mb_per_h": None if slope_mb_h is None else round(slope_mb_h, 3),
        "threads": [min(s.threads for s in warm), max(s.threads for s in warm)],
        "descriptors": [min(s.descriptors for s in warm), max(s.descriptors for s in warm)],
        "latency_ms": {"p50": round(p50_ms, 2), "p95": round(p95_ms, 2), "p99": round(p99_ms, 2)},
        "publishers": status["publishers"],
        "log_lines": log.count("\n"),
    }


def save(out: Path, result: dict[str, Any], samples: list[Sample]) -> None:
    """JSON, CSV, and a plot of the memory."""
    import matplotlib  # noqa: PLC0415 (only here)

    matplotlib.use("agg")
    from matplotlib import pyplot  # noqa: PLC0415

    write_atomic(out / "soak.json", json.dumps(result, indent=1).encode())
    with (out / "samples.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(Sample.__dataclass_fields__)
        rows.writerows([*vars(s).values()] for s in samples)
    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    axes.plot([s.minutes for s in samples], [s.memory_mb for s in samples])
    axes.set(xlabel="minutes", ylabel="resident memory, MB", ylim=(0, None))
    figure.savefig(out / "memory.png", dpi=100)


if __name__ == "__main__":
    main()
