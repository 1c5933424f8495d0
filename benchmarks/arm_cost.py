"""What trackers and kernels cost on arm64, counted in instructions under emulation; nothing here is timed.

    python -m benchmarks.arm_cost --kernels rfft2:50:32
    python -m benchmarks.arm_cost --presets feco fdeepstrcf fkcf --bundle build/ours --out costs.json

A Debian 12 for arm64 is unpacked into build/ at the first call, the core compiled for it as `make wheels`
does, and qemu-user runs the trackers with a plugin that counts (`arm_counter.c`). Counts repeat to a few
thousandths. The times in the report are ESTIMATES, instructions over an assumed clock and an assumed range of
instructions a cycle (`CPUS`), never calibrated on a board: use them to compare, not to promise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed import find_sequences
from edge_runtime.errors import DependencyError
from edge_runtime.files import write_atomic

ROOT = Path(__file__).parents[1]
PLUGIN_SOURCE = Path(__file__).with_name("arm_counter.c")
CROSS = ROOT / "build" / "cross"
MILLION = 1e6


@dataclass(frozen=True)
class Cpu:
    """A board's processor as qemu models it, and what the estimates assume of it.

    Attributes:
        board: its name.
        clock_ghz: of one core.
        per_cycle: least and most instructions a cycle, of code that is mostly vector arithmetic.
        part: as /proc/cpuinfo gives it.
        features: from there the runtime learns which kernels it may take.
    """

    board: str
    clock_ghz: float
    per_cycle: tuple[float, float]
    part: str
    features: str

    def estimate_ms(self, instructions: float) -> tuple[float, float]:
        """Least and most milliseconds."""
        least, most = self.per_cycle
        cycles_a_ms = self.clock_ghz * 1e6
        return round(instructions / most / cycles_a_ms, 3), round(instructions / least / cycles_a_ms, 3)


CPUS = {
    "cortex-a53": Cpu("Pi 3", 1.4, (0.6, 1.0), "0xd03", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a72": Cpu("Pi 4", 1.8, (1.0, 1.3), "0xd08", "fp asimd evtstrm crc32 cpuid"),
    "cortex-a76": Cpu(
        "Pi 5", 2.4, (2.0, 2.5), "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
}  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="arm_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--kernels", nargs="+", default=[], metavar="NAME:SIZE…", help="see arm_cost_worker.py")
    p.add_argument("--presets", nargs="+", default=[], help="our trackers")
    p.add_argument("--bundle", type=Path, metavar="DIR", help="their network")
    p.add_argument("--dtype", default="int8", choices=["float32", "int8"])
    p.add_argument("--config", default="", metavar="NAME=FILE", help="TOML of overrides")
    p.add_argument("--sequences", nargs="+", type=Path, default=[], metavar="DIR",
                   help="sequences' folders; default: a clip composed of scikit-image's photos")  # fmt: skip
    p.add_argument("--frames", type=int, default=30, metavar="N", help="only the first N of each (30)")
    p.add_argument("--cpus", nargs="+", default=["cortex-a72", "cortex-a76"], choices=list(CPUS))
    p.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")
    return p


def describe_cpu(root: Path, name: str) -> None:
    """Give an arm64 root the /proc/cpuinfo of a processor: the network's runtime believes what is there."""
    cpu = CPUS[name]
    lines = [
        "processor : 0", "BogoMIPS : 108.00", f"Features : {cpu.features}", "CPU implementer : 0x41",
        "CPU architecture: 8", "CPU variant : 0x0", f"CPU part : {cpu.part}", "CPU revision : 3",
    ]  # fmt: skip
    (root / "proc" / "cpuinfo").write_text("\n".join(lines) + "\n\n", encoding="ascii")


class Emulator:
    """Runs the worker in the arm64 root. One at a time: the root holds the processor's description."""

    def __init__(self) -> None:
        done = _run([str(ROOT / ".ci" / "arm64-root"), "3.11"])
        self._root = Path(done.strip().splitlines()[-1])
        _run([str(ROOT / ".ci" / "arm64-core")])
        self._plugin = CROSS / "arm_counter.so"
        if not self._plugin.exists() or self._plugin.stat().st_mtime < PLUGIN_SOURCE.stat().st_mtime:
            _run(["gcc", "-O2", "-shared", "-fPIC", str(PLUGIN_SOURCE), "-o", str(self._plugin)])

    def ask(self, name: str, question: dict[str, Any]) -> dict[str, Any]:
        """The worker's answer, on the processor of that name."""
        describe_cpu(self._root, name)
        with tempfile.NamedTemporaryFile(dir=CROSS) as counter:
            counter.truncate(4096)
            command = [
                "qemu-aarch64", "-cpu", name, "-plugin", f"{self._plugin},counter={counter.name}",
                "-L", str(self._root), str(self._root / "usr/bin/python3.11"),
                "-m", "benchmarks.arm_cost_worker", counter.name, json.dumps(question),
            ]  # fmt: skip
            answer: dict[str, Any] = json.loads(_run(command, self._environment()).splitlines()[-1])
        return answer

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CFVGG"))}
        paths = f"{ROOT}:{self._root / 'opt' / 'site'}"
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
        return kept | one | {"PYTHONPATH": paths, "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """The report: what is assumed, and for each processor the kernels and the trackers."""
    emulator = Emulator()
    report: dict[str, Any] = {"cpus": {}, "note": "milliseconds are uncalibrated estimates"}
    for name in args.cpus:
        cpu = CPUS[name]
        row: dict[str, Any] = {"board": cpu.board, "assumed_clock_ghz": cpu.clock_ghz,
                               "assumed_instructions_per_cycle": cpu.per_cycle}  # fmt: skip
        if args.kernels:
            counts = emulator.ask(name, {"kernels": args.kernels})["kernels"]
            row["kernels"] = {kernel: _cost(cpu, count) for kernel, count in counts.items()}
        row["trackers"] = {
            key: _tracker_row(cpu, emulator.ask(name, question)["tracker"])
            for key, question in _questions(args)
        }
        report["cpus"][name] = row
    return report


def main() -> None:
    """Count, and write the report."""
    args = parser().parse_args()
    if not args.kernels and not args.presets:
        sys.exit("arm_cost: nothing to count; give --kernels or --presets")
    text = json.dumps(measure(args), indent=2)
    if args.out:
        write_atomic(args.out, f"{text}\n".encode())
    else:
        print(text)


def _questions(args: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    if not args.presets:
        return
    with tempfile.TemporaryDirectory() as clip:
        wanted = Namespace(sequences=args.sequences, frames=args.frames, frames_mb=4096)
        for sequence in find_sequences(wanted, Path(clip)):
            files = [str(path.resolve()) for path in sequence.frames]
            for preset in args.presets:
                spec = {"kind": "own", "preset": preset, "dtype": args.dtype, "settings": args.config,
                        "network": f"bundle={args.bundle.resolve()}" if args.bundle else ""}  # fmt: skip
                question = {"tracker": spec, "files": files, "box": list(sequence.first_box())}
                yield f"{preset} {sequence.name}", question


def _cost(cpu: Cpu, instructions: float) -> dict[str, Any]:
    return {"instructions_m": round(instructions / MILLION, 3), "estimated_ms": cpu.estimate_ms(instructions)}


def _tracker_row(cpu: Cpu, counted: dict[str, Any]) -> dict[str, Any]:
    return {
        "init": _cost(cpu, counted["init"]),
        "frame": _cost(cpu, counted["frame_mean"]),
        "frame_median_m": round(counted["frame_median"] / MILLION, 3),
        "frame_max_m": round(counted["frame_max"] / MILLION, 3),
        "stages_m": {name: round(count / MILLION, 3) for name, count in counted["stages"].items()},
        "frames": counted["frames"],
        "last_box": counted["last_box"],
    }


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    except FileNotFoundError as error:
        raise DependencyError(f"needs {command[0]}", fix=f"install {command[0]}") from error
    if done.returncode:
        raise DependencyError(f"{' '.join(command[:4])}… failed ({done.returncode}):\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
