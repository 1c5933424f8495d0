"""What does a viewer cost the tracker, and how late do records come? One service, with and without, in turns.

    python -m benchmarks.viewer --bundle demo/bundle --preset fkcf --repeats 3
    python -m benchmarks.viewer --bundle demo/bundle --viewer "ssh pi@host cfvgg-edge preview --stdout"

The service films a clip (--show, or the built-in scene) with the virtual camera. Prints JSON: for each phase,
percentiles of the tracker's time for a frame and of the time from the frame to its record at a reader of
`tracks.sock`, the rate, pictures a second at the viewer; the median ratio of p95 with to without; and the TCP
ports on which the service listens (there must be none).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak import START, status_of, wait_for
from edge_runtime.preview.stream import BOUNDARY
from edge_runtime.unix_socket import connect

SETTLE_S = 2.0


class Records:
    """The newest records of a service, taken from its socket."""

    def __init__(self, path: Path) -> None:
        self._taken: list[tuple[float, float]] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._read, args=(path,), daemon=True).start()

    def _read(self, path: Path) -> None:
        with connect(path, 30) as client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                late_ms = time.monotonic_ns() / 1e6
                record = json.loads(line)
                if record["latency_ms"] is not None:
                    late_ms -= record["t_monotonic_ns"] / 1e6
                    with self._lock:
                        self._taken.append((record["latency_ms"], late_ms))

    def take(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """What has come since the last call: (records, 2), tracker's and record's milliseconds."""
        with self._lock:
            taken, self._taken = self._taken, []
        return np.array(taken, np.float64).reshape(-1, 2)


def phase(records: Records, seconds: float, viewer: list[str] | None, env: dict[str, str]) -> dict[str, Any]:
    """Figures of some seconds with or without a viewer."""
    with watching(viewer, env) as pictures:
        time.sleep(SETTLE_S)
        records.take()
        before, start_s = pictures(), time.monotonic()
        time.sleep(seconds)
        taken, span_s = records.take(), time.monotonic() - start_s
        rate_hz = (pictures() - before) / span_s
    tracker, late = (np.percentile(taken[:, column], [50, 95]).round(2).tolist() for column in (0, 1))
    return {
        "viewer": viewer is not None,
        "frames": len(taken),
        "rate_hz": round(len(taken) / span_s, 2),
        "tracker_p50_p95_ms": tracker,
        "frame_to_record_p50_p95_ms": late,
        "pictures_hz": round(rate_hz, 1),
    }


@contextlib.contextmanager
def watching(viewer: list[str] | None, env: dict[str, str]) -> Iterator[Any]:
    """Run a viewer; yields a function that counts its pictures."""
    if viewer is None:
        yield lambda: 0
        return
    seen = [0]
    process = subprocess.Popen(viewer, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | env)

    def count() -> None:
        assert process.stdout is not None
        while piece := process.stdout.read1(1 << 16):
            seen[0] += piece.count(BOUNDARY)

    threading.Thread(target=count, daemon=True).start()
    try:
        yield lambda: seen[0]
    finally:
        process.terminate()
        process.wait(20)


def listening(pid: int) -> list[str]:
    """TCP ports on which a process listens."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [line.split()[3] for line in lines if f"pid={pid}," in line]


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", default="")
    parser.add_argument("--preset", default="fkcf")
    parser.add_argument("--show", default="", help="a video that the camera films, again and again")
    parser.add_argument("--size", nargs=2, type=int, default=[640, 480], metavar=("W", "H"))
    parser.add_argument("--box", default="", help="first box X,Y,W,H; without it, what moves")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", default="0,1", help="of the service and its preview, as taskset has them")
    parser.add_argument("--viewer", default="", help="command that prints the stream; here: cfvgg-edge")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cfvgg-viewer-") as folder:
        print(json.dumps(measured(args, Path(folder)), indent=1))


def measured(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All phases, in turns."""
    uri = f"fake:live=true&width={args.size[0]}&height={args.size[1]}"
    uri += f"&show={args.show}" if args.show else "&target_px=80"
    options = ["--source", uri, "--preset", args.preset]
    options += ["--bundle", args.bundle] if args.bundle else []
    options += ["--box", args.box] if args.box else ["--set", 'target.start="motion"']
    env = {"CFVGG_RUNTIME_DIR": str(folder / "run")}
    edge = [sys.executable, "-c", START]
    viewer = shlex.split(args.viewer) or [*edge, "preview", "--stdout"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", args.cores, *edge, "run", *options],
            stdout=log,
            stderr=log,
            env=os.environ | env,
        )
    try:
        wait_for(process, folder / "run")
        while not status_of(folder / "run")["targets"]:
            time.sleep(0.2)
        records = Records(folder / "run/tracks.sock")
        phases = [
            phase(records, args.seconds, viewer if watched else None, env)
            for _ in range(args.repeats)
            for watched in (False, True)
        ]
        ports = listening(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    pairs = zip(phases[::2], phases[1::2], strict=True)
    ratios = [round(w["tracker_p50_p95_ms"][1] / o["tracker_p50_p95_ms"][1], 3) for o, w in pairs]
    return {
        "preset": args.preset,
        "viewer": args.viewer or "cfvgg-edge preview --stdout",
        "phases": phases,
        "p95_ratios": ratios,
        "p95_ratio": float(np.median(ratios)),
        "tcp_ports": ports,
    }


if __name__ == "__main__":
    main()
