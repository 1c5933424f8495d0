"""One-pass evaluation of tracker presets over sequences, with the published trackers' scores beside ours.

    python -m benchmarks.ope --root ../shared/data/sequences --splits dev report --presets fkcf kcf \
        --bundle ours=demo/bundle --dtypes float32 int8 --out runs/ope \
        --published ../shared/data/published/otb2015_per_sequence.csv

Presets x bundles x dtypes x settings run over all sequences, each in a process of its own on one thread.
A second run with the same --out does only what is missing: a bundle counts by its manifest's hash,
settings by theirs, the code by the git revision (--any-revision ignores that).

Writes into --out: results.json, results.csv, table.md; success, precision and AUC charts of every split;
results.jsonl with a line for each track, boxes/ and times/ (from which --score-only makes the rest anew);
got10k/ in the GOT-10k toolkit's layout where the data are in GOT-10k's.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import datasets, processes
from benchmarks.arguments import at_least
from benchmarks.datasets import got10k
from benchmarks.measure import FIRST, Task, Track, limit_threads, measure
from benchmarks.ope_report import Report
from benchmarks.published import read_published
from benchmarks.revision import git_revision
from benchmarks.scores import Scored, score_track, sequence_figures
from benchmarks.store import BOX_DECIMALS, Store, boxes_text, slug
from benchmarks.variants import Variant, build_tracker, make_variants, parse_network, parse_settings
from edge_runtime.errors import CfvggError, DependencyError, SourceError
from edge_runtime.files import write_atomic
from edge_runtime.sources.folder import read_picture
from edge_runtime.types import Tracker

Builder = Callable[[Variant], Tracker]
FIRST_ENDING = re.compile(FIRST.format(r"\d+") + "$")
ERROR_FILE = "errors.log"


def main(arguments: Sequence[str] | None = None, build: Builder = build_tracker) -> int:
    """Run what is missing, then report; returns the exit status.

    Args:
        arguments: of the command line; None for the process's.
        build: makes a variant's tracker; picklable unless --jobs is 0.
    """
    args = parser().parse_args(arguments)
    try:
        return evaluate(args, build)
    except CfvggError as error:
        print(f"ope: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("ope: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="ope", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--root", type=Path, required=True, help="folder of the splits, or of the sequences")
    p.add_argument("--splits", nargs="+", default=["."], help="folders below --root (default: --root itself)")
    p.add_argument("--layout", choices=["auto", *datasets.LAYOUTS], default="auto")
    p.add_argument("--only", nargs="+", default=[], metavar="SEQ", help="sequences to take (default: all)")
    p.add_argument("--frames", type=at_least(2), default=0, metavar="N", help="only the first N of each")
    p.add_argument("--starts", type=at_least(1), default=1, metavar="N",
                   help="start each at N evenly spaced frames: less chance in the mean")  # fmt: skip
    p.add_argument("--pace", type=float, default=0.0, metavar="HZ",
                   help="frames come at this rate, as to adapt in the background (default: any)")  # fmt: skip
    p.add_argument("--presets", nargs="+", help="trackers (default: fkcf; with --score-only all kept ones)")
    p.add_argument("--bundle", action="append", default=[], metavar="NAME=[torch:]PATH",
                   help="a bundle, or weights to run in torch; may be repeated")  # fmt: skip
    p.add_argument("--dtypes", nargs="+", default=["float32", "int8"], choices=["float32", "int8"])
    p.add_argument("--levels", nargs="+", default=[], help="feature levels of the presets that take one")
    p.add_argument("--config", action="append", default=[], metavar="NAME=FILE",
                   help="TOML of overrides; NAME= stands for the defaults; may be repeated")  # fmt: skip
    p.add_argument("--published", type=Path, metavar="CSV", help="published scores by sequence")
    p.add_argument("--trackers", nargs="+", default=[], metavar="NAME", help="of --published (default: all)")
    p.add_argument(
        "--jobs", type=at_least(0), default=1, help="processes at a time; 0: in this one (default: 1)"
    )
    p.add_argument("--any-revision", action="store_true", help="results of other code count as well")
    p.add_argument("--score-only", action="store_true", help="track nothing, score the kept boxes")
    p.add_argument("--no-plots", action="store_true", help="leave the charts out (no matplotlib needed)")
    p.add_argument("--out", type=Path, required=True, help="folder for everything that is made")
    return p


def evaluate(args: argparse.Namespace, build: Builder) -> int:
    """Everything after the command line; returns the exit status: 1 if a track failed."""
    folders = [args.root / split for split in args.splits]
    sequences = datasets.open_splits(folders, args.layout, args.only)
    if args.frames:
        sequences = [sequence.first(args.frames) for sequence in sequences]
    sequences = [part for sequence in sequences for part in sequence.segments(args.starts)]
    # Scores of whole sequences are no measure for parts of them.
    comparable = args.published and not args.frames and args.starts == 1
    published = read_published(args.published, sequences, args.trackers) if comparable else []
    store, failed = Store(args.out), 0
    if args.score_only:
        labels = kept_labels(args, sequences, store)
        wanted = [(label, sequence) for label in labels for sequence in sequences]
    else:
        tasks = make_tasks(args, sequences)
        failed = run_missing(tasks, store, args, build)
        # Not what an earlier run left where this one failed.
        done = [task for task in tasks if store.find(task.key(), any_revision=args.any_revision)]
        wanted = [(task.label, task.sequence) for task in done]
    scored = [found for pair in wanted if (found := score_kept(*pair, store)) is not None]
    report = Report(scored, sequences, published)
    if not report.scored:
        raise SourceError("holds no boxes of these sequences to score", where=args.out)
    report.write(args.out)
    write_got10k(report.scored, store)
    if not args.no_plots:
        write_plots(report, args.out)
    print(report.as_markdown())
    return 1 if failed else 0


def make_tasks(args: argparse.Namespace, sequences: list[datasets.Sequence]) -> list[Task]:
    """Every combination that was asked for, variant by variant."""
    variants = make_variants(
        presets=args.presets or ["fkcf"],
        networks=[parse_network(text) for text in args.bundle],
        dtypes=args.dtypes,
        levels=args.levels,
        settings=[parse_settings(text) for text in args.config],
    )
    revision = git_revision()
    return [
        Task(variant, sequence, revision, args.frames, args.pace)
        for variant in variants
        for sequence in sequences
    ]


def kept_labels(args: argparse.Namespace, sequences: list[datasets.Sequence], store: Store) -> list[str]:
    """The variants that were asked for, or else all in the store that saw this part of the sequences."""
    if args.presets:
        return list(dict.fromkeys(task.label for task in make_tasks(args, sequences)))
    labels = [name.replace("_", " ") for name in store.variants()]
    part = FIRST.format(args.frames)
    return [x for x in labels if (x.endswith(part) if args.frames else not FIRST_ENDING.search(x))]


def run_missing(tasks: list[Task], store: Store, args: argparse.Namespace, build: Builder) -> int:
    """Run what the store has no result of, the longest sequences first; returns how many failed."""
    missing = [task for task in tasks if not store.find(task.key(), any_revision=args.any_revision)]
    missing.sort(key=lambda task: -len(task.sequence.frames))
    if not missing:
        return 0
    limit_threads()
    failed = 0
    results = processes.each(partial(measure, build=build), missing, args.jobs)
    with progress_bar(sum(len(task.sequence.frames) for task in missing)) as bar, closing(results):
        for task, result in results:
            if isinstance(result, processes.Failure):
                failed += 1
                report_failure(task, result, args.out)
            else:
                keep(task, *result, store, args.jobs)
            bar.update(len(task.sequence.frames))
    return failed


def keep(task: Task, track: Track, row: dict[str, Any], store: Store, jobs: int) -> None:
    """Store a track with its scores."""
    scored = score_track(
        variant=task.label,
        sequence=task.sequence,
        boxes=track.boxes.round(BOX_DECIMALS),
        times_ms=track.times_ms,
        row=row,
        frame_size=track.frame_size,
    )
    store.add(track, row | {"jobs": jobs} | sequence_figures(scored))


def report_failure(task: Task, failure: processes.Failure, out: Path) -> None:
    """A line for the person who waits; the traceback of what was not expected goes into a file."""
    where = f"{task.label}, {task.sequence.split}/{task.sequence.name}"
    more = ""
    if failure.trace:
        with (out / ERROR_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{where}\n{failure.trace}\n")
        more = f"; traceback in {out / ERROR_FILE}"
    print(f"\nope: {where}: {failure.line}{more}", file=sys.stderr)


def score_kept(label: str, sequence: datasets.Sequence, store: Store) -> Scored | None:
    """Score the boxes that the store has of a variant; None if it has none of this sequence."""
    names = (slug(label), sequence.split, sequence.name)
    boxes, row = store.boxes(*names), store.row_of_boxes(*names)
    if boxes is None:
        return None
    if row is not None:
        rows, columns = row["frame_size"][::-1]
    else:
        rows, columns = read_picture(sequence.frames[0]).shape[:2]
    return score_track(
        variant=label,
        sequence=sequence,
        boxes=boxes,
        times_ms=store.times_ms(*names),
        row=row,
        frame_size=(columns, rows),
    )


def write_got10k(several: Iterable[Scored], store: Store) -> None:
    """Boxes and times of tracks on GOT-10k's layout, as its toolkit and server read them."""
    for scored in several:
        name, split = scored.sequence.name, scored.sequence.split
        if scored.sequence.layout == got10k.NAME:
            folder = store.folder / "got10k" / split / slug(scored.variant) / name
            write_atomic(folder / f"{name}_001.txt", boxes_text(scored.boxes).encode())
            if scored.init_ms is not None:
                times_s = [scored.init_ms / 1000, *(scored.times_ms / 1000)]
                text = "".join(f"{time_s:.8f}\n" for time_s in times_s)
                write_atomic(folder / f"{name}_time.txt", text.encode())


def write_plots(report: Report, out: Path) -> None:
    """Three charts a split: success, precision, and bars of AUC."""
    try:
        from benchmarks import plots  # noqa: PLC0415 (workers need no matplotlib)
    except ImportError as error:
        raise DependencyError(
            "the charts need matplotlib", fix="pip install matplotlib, or give --no-plots"
        ) from error
    for split in report.splits:
        for name, png in plots.split_charts(report, split).items():
            write_atomic(out / f"{name}_{split}.png", png)


def progress_bar(total: int) -> Any:
    """A bar that counts frames."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 (workers need none)
    except ImportError as error:
        raise DependencyError("the progress bar needs tqdm", fix="pip install tqdm") from error
    # A log file gets a line now and then, not one each second.
    return tqdm(total=total, unit="frame", smoothing=0.05, mininterval=0.5 if sys.stderr.isatty() else 30)


if __name__ == "__main__":
    sys.exit(main())
