"""One target fuzzed in this process, for `python -m benchmarks.fuzz`."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import logging
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.fuzz.mutation import mutated

ROOT = Path(__file__).parents[2]
INSTRUMENTED = ["edge_runtime", "tomllib", "dacite", "json"]
MOST_BYTES = 16_000
SLOWEST_S = 20  # for one input, on a machine that is busy
MOST_MEMORY_MB = 1500
TRACE_CALLS = 40
ROUND_EXAMPLES = 500


class Finder:
    """A check that remembers what it has found instead of raising it.

    Of each kind of crash (exception, and line of ours that it came through) the first input is kept, with
    its traceback beside it.

    Attributes:
        executions: inputs so far.
    """

    def __init__(self, name: str, keep: Path) -> None:
        # Imported when atheris instruments what is imported.
        from benchmarks.fuzz.commands import SERVICE_LOG, Raising  # noqa: PLC0415
        from benchmarks.fuzz.targets import make_target  # noqa: PLC0415

        SERVICE_LOG.addHandler(Raising())

        self._make, self._name, self._keep = make_target, name, keep
        self._known: set[str] = set()
        self.executions = 0

    def open(self, folder: Path, bundle: Path) -> None:
        """Make the target."""
        self._target = self._make(self._name, folder, bundle)

    @property
    def seeds(self) -> tuple[bytes, ...]:
        """Good inputs."""
        return self._target.seeds

    def __call__(self, data: bytes) -> None:
        """Check one input."""
        self.executions += 1
        try:
            self._target.check(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._note(data, error)

    def _note(self, data: bytes, error: BaseException) -> None:
        kind = f"{type(error).__name__} {place(error.__traceback__)}"
        if kind in self._known:
            return
        self._known.add(kind)
        self._keep.mkdir(parents=True, exist_ok=True)
        path = self._keep / f"{self._name}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}"
        path.write_bytes(data)
        lines = traceback.format_exception(error, limit=-TRACE_CALLS)
        path.with_suffix(".txt").write_text("".join([kind, "\n", *lines]), errors="backslashreplace")


def place(trace: TracebackType | None) -> str:
    """The innermost line of ours."""
    frames = [f for f in traceback.extract_tb(trace) if f.filename.startswith(str(ROOT))]
    return f"{Path(frames[-1].filename).relative_to(ROOT)}:{frames[-1].lineno}" if frames else ""


def with_atheris(finder_of: tuple[str, Path], bundle: Path, seconds: float, seed: int) -> None:
    """Guided by coverage. libFuzzer ends the process by itself, and prints the figures."""
    atheris: Any = importlib.import_module("atheris")  # optional, and without types
    with atheris.instrument_imports(include=INSTRUMENTED):
        finder = Finder(*finder_of)
    folder = Path(tempfile.mkdtemp(dir="."))
    finder.open(folder, bundle)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(finder.seeds):
        (corpus / str(number)).write_bytes(data)

    def mutator(data: bytes, most: int, number: int) -> bytes:
        draw = random.Random(number)
        if draw.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return mutated(data, draw, finder.seeds)[:most]

    flags = {"max_total_time": round(seconds), "timeout": SLOWEST_S, "rss_limit_mb": MOST_MEMORY_MB}
    flags |= {"max_len": MOST_BYTES, "len_control": 0, "seed": seed, "print_final_stats": 1}
    options = [f"-{name}={value}" for name, value in flags.items()]
    name, keep = finder_of
    keep.mkdir(parents=True, exist_ok=True)
    options.append(f"-artifact_prefix={keep}/{name}-")
    atheris.Setup([sys.argv[0], *options, str(corpus)], finder, custom_mutator=mutator)
    atheris.Fuzz()


def with_hypothesis(finder_of: tuple[str, Path], bundle: Path, seconds: float, seed: int) -> None:
    """From good inputs, and from bytes at random."""
    import hypothesis  # noqa: PLC0415 (optional)
    from hypothesis import strategies as st  # noqa: PLC0415

    finder = Finder(*finder_of)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        finder.open(Path(folder), bundle)
        end_s, distinct = time.monotonic() + seconds, set[int]()
        draws = st.randoms(use_true_random=False)
        changed = st.builds(mutated, st.sampled_from(finder.seeds), draws, st.just(finder.seeds))

        def check(data: bytes) -> None:
            if time.monotonic() < end_s:
                distinct.add(hash(data))
                finder(data)

        settings = hypothesis.settings(
            max_examples=ROUND_EXAMPLES,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        while time.monotonic() < end_s:
            given = hypothesis.given(st.binary(max_size=200) | changed | changed | changed)
            hypothesis.seed(seed)(settings(given(check)))()
            seed += 1
    print(f"executions {finder.executions} distinct {len(distinct)}", flush=True)


def figures(text: str) -> dict[str, int]:
    """What a worker has printed: of several runs, the last."""
    forms = {
        "executions": r"(?:number_of_executed_units:\s*|executions )(\d+)",
        "distinct_inputs": r"distinct (\d+)",
        "edges": r"\bcov: (\d+)",
        "inputs_with_new_paths": r"\bcorp: (\d+)/",
    }
    found = {name: re.findall(form, text) for name, form in forms.items()}
    return {name: int(numbers[-1]) for name, numbers in found.items() if numbers}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse and fuzz."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    logging.getLogger("edge_runtime").propagate = False  # a log of hostile input is of no use
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    fuzz = with_atheris if args.engine == "atheris" else with_hypothesis
    fuzz((args.target, args.keep), args.bundle, args.seconds, args.seed)


if __name__ == "__main__":
    main()
