"""One-pass evaluation of fKCF over sequences in OTB layout; prints JSON, writes a Markdown table.

    python benchmarks/ope.py --sequences dev report --root ../shared/data/sequences \
        --bundle ours=demo/bundle --levels low middle high --dtypes float32 int8 --out runs/ope

Each line of `results.jsonl` is one sequence of one variant. A second run with the same folder does only
what is missing; a bundle counts by its manifest's hash, the code by the git revision.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_runtime.bundle import Bundle
from edge_runtime.config import Config, load_config
from edge_runtime.evaluation import evaluate, read_groundtruth
from edge_runtime.manifest import MANIFEST_FILE
from edge_runtime.sources.folder import FolderSource
from edge_runtime.trackers import make_tracker


@dataclass(frozen=True)
class Job:
    """One sequence with one variant."""

    bundle_name: str
    bundle: str
    bundle_sha256: str
    dtype: str
    level: str
    split: str
    sequence: str
    folder: str
    revision: str
    config: str | None

    @property
    def key(self) -> str:
        """What makes two results the same measurement."""
        return json.dumps(asdict(self), sort_keys=True)


def run_job(job: Job) -> dict[str, Any]:
    """Track one sequence from its first box, without resets."""
    cv2.setNumThreads(1)
    overrides = {"model.dtype": job.dtype, "tracker.fkcf.level": job.level}
    config: Config = load_config(Path(job.config) if job.config else None, overrides)
    tracker = make_tracker(config, Bundle.open(Path(job.bundle)))
    folder = Path(job.folder)
    truth = read_groundtruth(folder / "groundtruth_rect.txt")
    boxes, latencies_ms, states = {}, [], defaultdict(int)
    for frame in itertools.islice(FolderSource(folder / "img"), len(truth.valid)):
        if frame.index == 0:
            first = truth.box(0)
            assert first is not None, f"{folder}: the first box is not valid"
            tracker.init(frame.image, first)
            boxes[0] = first
            continue
        result = tracker.update(frame.image)
        boxes[frame.index] = result.box
        latencies_ms.append(result.latency_ms)
        states[str(result.state)] += 1
    score = evaluate(boxes, truth)
    return asdict(job) | {
        "auc": score.success_auc,
        "p20": score.precision_20px,
        "frames": score.frames,
        "p50_ms": float(np.percentile(latencies_ms, 50)),
        "p95_ms": float(np.percentile(latencies_ms, 95)),
        "states": dict(states),
    }


def make_jobs(args: argparse.Namespace) -> list[Job]:
    """Every combination that was asked for."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    revision = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    bundles = [item.partition("=")[::2] for item in args.bundle]
    jobs = []
    for split in args.sequences:
        folders = sorted(p for p in (args.root / split).iterdir() if (p / "img").is_dir())
        for (name, path), dtype, level, folder in itertools.product(
            bundles, args.dtypes, args.levels, folders
        ):
            sha256 = hashlib.sha256((Path(path) / MANIFEST_FILE).read_bytes()).hexdigest()
            jobs.append(
                Job(name, path, sha256, dtype, level, split, folder.name, str(folder), revision, args.config)
            )
    return jobs


def means(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per variant and split, the mean over sequences."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["bundle_name"], result["level"], result["dtype"], result["split"]].append(result)
    return [
        dict(zip(("bundle", "level", "dtype", "split"), group, strict=True))
        | {"sequences": len(rows)}
        | {key: round(float(np.mean([row[key] for row in rows])), 4) for key in ("auc", "p20", "p50_ms")}
        for group, rows in groups.items()
    ]


def published_means(path: Path, trackers: list[str]) -> list[dict[str, Any]]:
    """The same rows for published scores: CSV of tracker, split, sequence, success_auc, precision_20px."""
    groups: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["tracker"] in trackers:
                scores = float(row["success_auc"]), float(row["precision_20px"])
                groups[row["tracker"], row["split"]].append(scores)
    return [
        {"bundle": f"published {tracker}", "level": "", "dtype": "", "split": split, "sequences": len(rows)}
        | {"auc": round(float(np.mean(rows, 0)[0]), 4), "p20": round(float(np.mean(rows, 0)[1]), 4)}
        for (tracker, split), rows in groups.items()
    ]


def markdown(rows: list[dict[str, Any]], splits: list[str]) -> str:
    """One line a variant, AUC and P20 of every split side by side."""
    head = "".join(f" {split} AUC | {split} P20 |" for split in splits)
    lines = [f"| features | level | dtype |{head}", "|---|---|---|" + "---:|---:|" * len(splits)]
    table: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        table[row["bundle"], row["level"], row["dtype"]][row["split"]] = row
    for names, by_split in table.items():
        cells = [by_split.get(split) for split in splits]
        text = "".join(f" {c['auc']:.3f} | {c['p20']:.3f} |" if c else " | |" for c in cells)
        lines.append(f"| {' | '.join(names)} |{text}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, run what is missing, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of the splits")
    parser.add_argument("--sequences", nargs="+", default=["dev"], help="splits: folders below --root")
    parser.add_argument("--bundle", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "int8"])
    parser.add_argument("--levels", nargs="+", default=["low", "middle", "high"])
    parser.add_argument("--config", help="TOML with other tracker settings")
    parser.add_argument("--published", type=Path, help="CSV of published scores")
    parser.add_argument("--trackers", nargs="+", default=["KCF"], help="rows of --published to show")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, required=True, help="folder for results.jsonl and table.md")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "results.jsonl"
    known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    by_key = {json.dumps({k: r[k] for k in Job.__annotations__}, sort_keys=True): r for r in known}
    jobs = make_jobs(args)
    missing = [job for job in jobs if job.key not in by_key]
    start_s = time.perf_counter()
    with multiprocessing.Pool(args.jobs) as pool, log.open("a") as file:
        for done, result in enumerate(pool.imap_unordered(run_job, missing), 1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            by_key[json.dumps({k: result[k] for k in Job.__annotations__}, sort_keys=True)] = result
            rate = done / (time.perf_counter() - start_s)
            left_s = (len(missing) - done) / rate
            print(f"\r{done}/{len(missing)} sequences, {left_s:.0f} s left ", end="", file=sys.stderr)
    rows = means([by_key[job.key] for job in jobs])
    if args.published:
        rows += [r for r in published_means(args.published, args.trackers) if r["split"] in args.sequences]
    (args.out / "table.md").write_text(markdown(rows, args.sequences))
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
