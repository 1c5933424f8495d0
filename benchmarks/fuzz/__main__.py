"""Whatever comes from outside: the promised result or one line, or the fuzzer has found a bug.

    python -m benchmarks.fuzz --minutes 10 --bundle demo/bundle

Fuzzes, one after the other and for the same time each: settings files, --set, the lines of the control and
preview sockets, the preview's stream at the other end, MQTT commands, source URIs with their scripts of
faults, track records and ground truth read back, bundle manifests and bundle folders. With atheris (pip
install atheris) mutations follow the coverage; without it,
hypothesis makes them. Prints one JSON object. An input that crashes is kept, with its traceback beside it;
to repeat it: python -m benchmarks.fuzz --repeat FILE. Exit status 1 if there were any.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fuzz.targets import MAKERS, OF_BUNDLES, make_target
from benchmarks.fuzz.worker import ROOT, figures

TARGETS = (*MAKERS, *OF_BUNDLES)
SHORTEST_S = 1.0
START_S = 120.0


def main() -> None:
    """Parse, fuzz, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for all targets together")
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=TARGETS)
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="atheris if it is installed")
    parser.add_argument("--bundle", type=Path, default=Path("demo/bundle"), help="a good one, see make demo")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder for inputs that crash")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeat", type=Path, help="check this input again, of the target in its name")
    args = parser.parse_args()
    if not (args.bundle / "manifest.json").is_file() and {*args.targets} & {*OF_BUNDLES}:
        sys.exit(f"fuzz: {args.bundle} is no bundle; make demo, or give --bundle or other --targets")
    if args.repeat is not None:
        repeat(args.repeat, args.bundle)
        return
    result = fuzz(args, args.engine or engine())
    print(json.dumps(result, indent=1), flush=True)
    sys.exit(bool(result["crashes"]))


def engine() -> str:
    """The better one that is there."""
    if importlib.util.find_spec("atheris") is not None:
        return "atheris"
    print("fuzz: without atheris (pip install atheris) coverage guides nothing", file=sys.stderr)
    if importlib.util.find_spec("hypothesis") is None:
        sys.exit("fuzz: hypothesis is not installed; pip install hypothesis")
    return "hypothesis"


def fuzz(args: argparse.Namespace, engine_name: str) -> dict[str, Any]:
    """Every target in turn."""
    start_s = time.monotonic()
    seconds = max(SHORTEST_S, args.minutes * 60 / len(args.targets))
    before = set(args.keep.glob("*")) if args.keep.is_dir() else set()
    found = {name: fuzz_one(name, seconds, engine_name, args) for name in args.targets}
    after = set(args.keep.glob("*")) if args.keep.is_dir() else set()
    crashes = sorted(path.name for path in after - before if path.suffix != ".txt")
    return {
        "engine": engine_name,
        "python": platform.python_version(),
        "minutes": round((time.monotonic() - start_s) / 60, 1),
        "executions": sum(part["executions"] for part in found.values()),
        "targets": found,
        "crashes": crashes,
    }


def fuzz_one(name: str, seconds: float, engine_name: str, args: argparse.Namespace) -> dict[str, int]:
    """One target; a process that dies is followed by another until the time is up."""
    total: dict[str, int] = {"executions": 0, "processes_that_died": 0}
    end_s, seed = time.monotonic() + seconds, args.seed
    while (left_s := end_s - time.monotonic()) >= SHORTEST_S or not total["executions"]:
        status, printed = run_worker(name, max(left_s, SHORTEST_S), engine_name, args, seed)
        part = figures(printed)
        if not part.get("executions"):
            sys.exit(f"fuzz: {name} does not start (status {status})\n{printed[-2000:]}")
        total |= part | {"executions": total["executions"] + part["executions"]}
        total["processes_that_died"] += status != 0
        seed += 1
        if status == 0:
            break
    return total


def run_worker(
    name: str, seconds: float, engine_name: str, args: argparse.Namespace, seed: int
) -> tuple[int, str]:
    """One process on one target; its exit status and what it printed."""
    options = [name, "--engine", engine_name, "--seconds", f"{seconds:.1f}", "--seed", str(seed)]
    options += ["--bundle", str(args.bundle.resolve()), "--keep", str(args.keep.resolve())]
    python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory(prefix="cfvgg-fuzz-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.fuzz.worker", *options],
            cwd=folder,  # URIs that name files find nothing there
            env=os.environ | {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + START_S,
            check=False,
        )
    return done.returncode, done.stdout


def repeat(path: Path, bundle: Path) -> None:
    """Check one input; raises what the check raises."""
    name = max((name for name in TARGETS if path.name.startswith(f"{name}-")), key=len, default=None)
    if name is None:
        sys.exit(f"fuzz: {path.name} does not begin with the name of a target")
    with tempfile.TemporaryDirectory(prefix="cfvgg-fuzz-") as folder:
        make_target(name, Path(folder), bundle).check(path.read_bytes())
    print(f"{path}: good")


if __name__ == "__main__":
    main()
