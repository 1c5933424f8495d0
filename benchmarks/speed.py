"""Speed and memory of tracker presets on one pinned core, with OpenCV's trackers beside them.

    python -m benchmarks.speed --presets fkcf feco --bundle ours=demo/bundle --dtypes int8 \
        --sequences ../shared/data/sequences/dev/DragonBaby --repeats 3 > speed.json

Every tracker has a process of its own, pinned to the same core, and waits while another one runs. They take
turns after each pass, so that whatever else the machine does hits all alike. Pictures are decoded into memory
beforehand: only the tracker is timed. Frames per second are frames / wall time. Without --sequences, a
composed clip of 640x480 is tracked. JSON on standard output, a table on standard error.

OpenCV's trackers, and NanoTrack with --peer-models, run in environments that are made in build/ at the first
call. --loop-to 5000 goes forward and backward through the frames and compares the first tenth of the
updates with the last: neither time nor memory may grow.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2

from benchmarks import datasets, peers, speed_report
from benchmarks.arguments import at_least
from benchmarks.datasets import otb
from benchmarks.measure import ONE_THREAD, backend
from benchmarks.revision import ROOT
from benchmarks.variants import make_variants, parse_network, parse_settings
from edge_runtime.errors import CfvggError, ConfigError, SourceError
from edge_runtime.sources.folder import read_picture

CLIP_SIZE, CLIP_FRAMES = (640, 480), 300


@dataclass(frozen=True)
class Contestant:
    """A tracker that is measured.

    Attributes:
        name: what the table calls it.
        python: the interpreter that runs it.
        spec: what `speed_worker.make` builds it from.
        about: what stands in the report besides.
    """

    name: str
    python: Path
    spec: dict[str, Any]
    about: dict[str, Any]


class WorkerProcess:
    """The process of one contestant, and how to talk to it. A context manager that ends it.

    Raises:
        CfvggError: in `__enter__` and `ask`, when the worker says so, or is gone.
    """

    def __init__(self, contestant: Contestant, core: int) -> None:
        self.contestant, self.core = contestant, core
        self.hello: dict[str, Any] = {}

    def __enter__(self) -> Self:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [self.contestant.python, "-m", "benchmarks.speed_worker", str(self.core),
             json.dumps(self.contestant.spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us, we end it
            env=os.environ | ONE_THREAD | {"PYTHONPATH": path, "OPENCV_LOG_LEVEL": "SILENT"},
        )  # fmt: skip
        try:
            self.hello = self.ask("hello")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer to a command of `speed_worker.COMMANDS`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": command} | arguments) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words are still to be read
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise CfvggError(f"its process ended with status {status}", where=self.contestant.name)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise CfvggError(answer["error"], where=self.contestant.name)
        return answer

    def _end(self) -> None:
        self._process.kill()  # it holds nothing that could be lost
        self._process.communicate()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    args = parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as clip:
            sequences = list(find_sequences(args, Path(clip)))
            report = measure(args, contestants(args), sequences)
    except CfvggError as error:
        print(f"speed: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("speed: stopped, nothing is kept", file=sys.stderr)
        return 130
    print(speed_report.table(report), file=sys.stderr)
    print(json.dumps(report, indent=1, allow_nan=False))
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--presets", nargs="*", default=[], help="our trackers")
    p.add_argument("--bundle", action="append", default=[], metavar="NAME=PATH", help="may be repeated")
    p.add_argument("--dtypes", nargs="+", default=["int8"], choices=["float32", "int8"])
    p.add_argument("--config", metavar="NAME=FILE", help="TOML of overrides")
    p.add_argument("--factory", action="append", default=[], metavar="NAME=MODULE:CALLABLE",
                   help="a function that makes a tracker with our interface; may be repeated")  # fmt: skip
    p.add_argument("--peers", nargs="*", default=list(peers.OPENCV_TRACKERS), choices=peers.OPENCV_TRACKERS)
    p.add_argument("--peer-models", type=Path, metavar="DIR", help="folder that holds nanotrackv2, …v3")
    p.add_argument("--sequences", nargs="+", type=Path, default=[], metavar="DIR",
                   help="sequences in OTB layout, or folders of them")  # fmt: skip
    p.add_argument("--frames", type=at_least(1), metavar="N", help="only the first N of each (default: all)")
    p.add_argument("--frames-mb", type=at_least(1), default=256, metavar="MB",
                   help="decoded frames that a process holds at most; cuts long sequences")  # fmt: skip
    p.add_argument("--repeats", type=at_least(1), default=3, metavar="R", help="passes of each tracker")
    p.add_argument("--loop-to", type=at_least(1), metavar="N", help="N updates a pass, forward and backward")
    p.add_argument("--stages", action="store_true", help="time by stage, of trackers that keep count")
    p.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="default: the last one")
    return p


def contestants(args: argparse.Namespace) -> list[Contestant]:
    """Who takes part, ours first. Raises `ConfigError` when that is nobody, or two have one name."""
    found = [*_own(args), *_factories(args), *_peers(args)]
    names = [contestant.name for contestant in found]
    for name in set(names):
        if names.count(name) > 1:
            raise ConfigError(f"several trackers are called {name!r}", fix="give other names")
    if not found:
        raise ConfigError("no tracker is given", fix="give --presets, --factory or --peers")
    return found


def find_sequences(args: argparse.Namespace, clip: Path) -> Iterator[datasets.Sequence]:
    """The sequences, cut to --frames and --frames-mb; the composed clip, written to `clip`, without any."""
    if args.sequences:
        found = [sequence for folder in args.sequences for sequence in _open(folder)]
    else:
        write_composed(clip / "composed", min(args.frames or CLIP_FRAMES, CLIP_FRAMES))
        found = list(_open(clip / "composed"))
    for sequence in found:
        sequence.first_box()
        fitting = args.frames_mb * 2**20 // read_picture(sequence.frames[0]).nbytes
        frames = min(len(sequence.frames), args.frames or len(sequence.frames), fitting)
        if frames < 2:
            raise SourceError(
                f"{frames} frames are too few",
                where=sequence.name,
                fix="give a larger --frames or --frames-mb",
            )
        yield sequence.first(frames)


def write_composed(folder: Path, frames: int) -> None:
    """The first frames of the composed clip in OTB layout, losslessly."""
    from benchmarks.synthetic_clip import compose  # noqa: PLC0415 (needs scikit-image, the rest does not)

    (folder / "img").mkdir(parents=True)
    lines = []
    for number, (image, box) in enumerate(islice(compose(CLIP_FRAMES, CLIP_SIZE), frames), 1):
        cv2.imwrite(str(folder / "img" / f"{number:04}.png"), image)
        lines.append(f"{box.x + 1:.3f},{box.y + 1:.3f},{box.w:.3f},{box.h:.3f}\n")
    (folder / "groundtruth_rect.txt").write_text("".join(lines), encoding="utf-8")


def measure(
    args: argparse.Namespace, entrants: Sequence[Contestant], sequences: Sequence[datasets.Sequence]
) -> dict[str, Any]:
    """All passes of all trackers, and the report on them."""
    if args.core not in os.sched_getaffinity(0):
        raise ConfigError(f"--core {args.core} is not ours", fix=f"use one of {os.sched_getaffinity(0)}")
    passes: dict[str, list[speed_report.Pass]] = {entrant.name: [] for entrant in entrants}
    with ExitStack() as stack:
        workers = [stack.enter_context(WorkerProcess(entrant, args.core)) for entrant in entrants]
        for sequence in sequences:
            files = [str(path) for path in sequence.frames]
            frames_mb = {w.contestant.name: w.ask("load", files=files)["frames_mb"] for w in workers}
            updates = args.loop_to or len(files) - 1
            for repeat in range(args.repeats):
                # Nobody is always the first or always behind the same one's caches.
                for worker in workers[repeat % len(workers) :] + workers[: repeat % len(workers)]:
                    name = worker.contestant.name
                    print(f"{sequence.name}, pass {repeat + 1}/{args.repeats}: {name}", file=sys.stderr)
                    answer = worker.ask("run", box=list(sequence.first_box()), updates=updates)
                    passes[name].append(speed_report.Pass(sequence, frames_mb[name], answer))
        rows = [
            speed_report.summarise(
                worker.contestant.name,
                worker.contestant.about | worker.hello,
                passes[worker.contestant.name],
                looped=bool(args.loop_to),
                stages=args.stages,
            )
            for worker in workers
        ]
    return speed_report.assemble(rows, sequences, vars(args))


def _own(args: argparse.Namespace) -> Iterator[Contestant]:
    settings = [parse_settings(args.config)] if args.config else []
    networks = [parse_network(text) for text in args.bundle]
    by_name = dict(zip((network.name for network in networks), args.bundle, strict=True))
    for variant in make_variants(args.presets, networks, args.dtypes, [], settings):
        network = by_name[variant.network.name] if variant.network else None
        spec = {
            "kind": "preset",
            "preset": variant.preset,
            "network": network,
            "dtype": variant.dtype or "float32",
            "settings": args.config,
        }
        about = variant.identity() | {"model_sha256": variant.model_sha256, "backend": backend(variant)}
        yield Contestant(variant.label, Path(sys.executable), spec, about)


def _factories(args: argparse.Namespace) -> Iterator[Contestant]:
    for text in args.factory:
        name, _, factory = text.partition("=")
        if not name or ":" not in factory:
            raise ConfigError(f"--factory {text!r} is not good", fix="give NAME=MODULE:CALLABLE")
        spec = {"kind": "factory", "factory": factory}
        yield Contestant(name, Path(sys.executable), spec, {"factory": factory})


def _peers(args: argparse.Namespace) -> Iterator[Contestant]:
    if args.peers:
        python = peers.make_environment("peers-opencv", [peers.OPENCV])
        for name in args.peers:
            yield Contestant(name, python, {"kind": "opencv", "name": name}, {"package": peers.OPENCV})
    if args.peer_models is not None:
        folders = sorted(args.peer_models.glob(f"{peers.NANOTRACK}*"))
        if not folders:
            raise ConfigError(f"holds no {peers.NANOTRACK}v2 or …v3", where=args.peer_models)
        python = peers.make_environment("peers-onnx", [peers.OPENCV, *peers.ONNX])
        for folder in folders:
            version = folder.name.removeprefix(peers.NANOTRACK)
            spec = {"kind": "nanotrack", "version": version, "models": str(args.peer_models)}
            yield Contestant(f"NanoTrack {version}", python, spec, {"package": "onnxruntime"})


def _open(folder: Path) -> Iterator[datasets.Sequence]:
    """The sequences in a folder, or the one that it is, with each of its targets."""
    if not folder.is_dir():
        raise SourceError("is not a folder", where=folder, fix="give a sequence in OTB layout")
    single = (folder / "img").is_dir()
    loaders = otb.find(folder.resolve().parent if single else folder)
    own = folder.resolve().name
    names = [name for name in loaders if not single or name == own or name.startswith(f"{own}-")]
    if not names:
        raise SourceError("holds no sequences in OTB layout", where=folder, fix="give folders with img/")
    yield from (loaders[name]() for name in names)


if __name__ == "__main__":
    sys.exit(main())
