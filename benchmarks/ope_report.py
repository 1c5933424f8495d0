"""The results of a run as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.datasets.base import Sequence
from benchmarks.published import Published
from benchmarks.scores import Scored, by_attribute, sequence_figures, summary
from edge_runtime.files import write_atomic

CSV_COLUMNS = (
    "variant", "preset", "bundle", "dtype", "level", "config", "split", "sequence", "attributes",
    "frames", "frames_scored", "auc", "p20", "ao", "sr50", "sr75", "fps", "init_ms", "p50_ms", "p95_ms",
    "p99_ms", "peak_rss_mb", "states", "model_sha256", "bundle_sha256", "config_sha256", "backend",
    "threads", "jobs", "cpu", "opencv", "numpy", "revision",
)  # fmt: skip
# What identifies a measurement and where it was made, in the order of the CSV.
ROW_COLUMNS = tuple(column for column in CSV_COLUMNS if column not in ("attributes", "states"))
ABOUT = ("revision", "frames_limit", "cpu", "threads", "jobs", "backend", "opencv", "numpy")
NO_FIGURE = "-"


@dataclass(frozen=True)
class Report:
    """Everything that a run has to say.

    Attributes:
        scored: sequences of variants; those of a variant need not be all of a split's.
        sequences: the sequences that were asked for.
        published: scores of others on the same sequences.
    """

    scored: list[Scored]
    sequences: list[Sequence]
    published: list[Published]

    @cached_property
    def groups(self) -> dict[tuple[str, str], list[Scored]]:
        """Sequences by variant and split."""
        groups: dict[tuple[str, str], list[Scored]] = {}
        for scored in self.scored:
            groups.setdefault((scored.variant, scored.sequence.split), []).append(scored)
        return groups

    @cached_property
    def summaries(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Means by variant and split."""
        return {group: summary(several) for group, several in self.groups.items()}

    @property
    def variants(self) -> list[str]:
        """Labels in the order of `scored`."""
        return list(dict.fromkeys(scored.variant for scored in self.scored))

    @property
    def splits(self) -> dict[str, list[Sequence]]:
        """Sequences by split, in the order of `sequences`."""
        splits: dict[str, list[Sequence]] = {}
        for sequence in self.sequences:
            splits.setdefault(sequence.split, []).append(sequence)
        return splits

    @property
    def about(self) -> dict[str, list[Any]]:
        """Where and with what the tracks were made: every value that occurs."""
        rows = [scored.row for scored in self.scored]
        values = {name: {row[name] for row in rows if row.get(name)} for name in ABOUT}
        return {name: sorted(found) for name, found in values.items() if found}

    @cached_property
    def _ranked(self) -> list[Published]:
        """Published trackers, best first in every split."""
        return sorted(self.published, key=lambda p: -p.summary()["auc"])

    def write(self, folder: Path) -> None:
        """Write `results.json`, `results.csv` and `table.md`. Raises `StorageError`."""
        write_atomic(folder / "results.json", (json.dumps(self.as_json(), indent=1) + "\n").encode())
        write_atomic(folder / "results.csv", self.as_csv().encode())
        write_atomic(folder / "table.md", self.as_markdown().encode())

    def as_json(self) -> dict[str, Any]:
        """Means, means by attribute, published scores, and every sequence."""
        return {
            "about": self.about,
            "summary": [
                {"variant": variant, "split": split, **figures}
                for (variant, split), figures in self.summaries.items()
            ],
            "attributes": [
                {"variant": variant, "split": split, "attribute": name, "auc": auc, "sequences": count}
                for (variant, split), several in self.groups.items()
                for name, (auc, count) in by_attribute(several).items()
            ],
            "published": [
                {"tracker": p.tracker, "split": p.split, **p.summary(), "by_sequence": p.scores}
                for p in self.published
            ],
            "sequences": [_row(scored) for scored in self.scored],
        }

    def as_csv(self) -> str:
        """One row a sequence and variant."""
        text = io.StringIO()
        table = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for row in map(_row, self.scored):
            states = " ".join(f"{state}:{count}" for state, count in row["states"].items())
            table.writerow(row | {"attributes": " ".join(row["attributes"]), "states": states})
        return text.getvalue()

    def as_markdown(self) -> str:
        """The means of every split, then AUC by attribute."""
        facts = [f"- {split}: {len(sequences)} sequences" for split, sequences in self.splits.items()]
        facts += [f"- {name}: {', '.join(map(str, values))}" for name, values in self.about.items()]
        parts = ["\n".join(facts) + "\n", self._means_table()]
        for split, sequences in self.splits.items():
            if any(sequence.attributes for sequence in sequences):
                parts.append(f"## AUC by attribute, {split}\n\n{self._attribute_table(split)}")
        return "# One-pass evaluation\n\n" + "\n".join(parts)

    def _means_table(self) -> str:
        columns = [
            (split, figure)
            for split in self.splits
            for figure in FIGURES
            if any(self.summaries.get((v, split), {}).get(figure) is not None for v in self.variants)
        ]
        head = ["tracker", *(f"{split} {FIGURES[figure][0]}" for split, figure in columns)]
        rows = [
            [variant, *(self._cell(variant, split, figure) for split, figure in columns)]
            for variant in self.variants
        ]
        others = {(p.tracker, p.split): p.summary() for p in self._ranked}
        for tracker in dict.fromkeys(tracker for tracker, _ in others):
            cells = [_number(others.get((tracker, split), {}).get(f), f) for split, f in columns]
            rows.append([f"{tracker} (published)", *cells])
        return markdown_table(head, rows)

    def _cell(self, variant: str, split: str, figure: str) -> str:
        figures = self.summaries.get((variant, split), {})
        text, count = _number(figures.get(figure), figure), len(self.splits[split])
        incomplete = figure == "auc" and figures and figures["sequences"] < count
        return f"{text} ({figures['sequences']} of {count})" if incomplete else text

    def _attribute_table(self, split: str) -> str:
        sequences = self.splits[split]
        names = sorted(set().union(*(sequence.attributes for sequence in sequences)))
        counts = [sum(name in sequence.attributes for sequence in sequences) for name in names]
        rows = []
        for variant in self.variants:
            aucs = {n: auc for n, (auc, _) in by_attribute(self.groups.get((variant, split), [])).items()}
            rows.append([variant, *(_number(aucs.get(name), "auc") for name in names)])
        for p in self._ranked:
            if p.split == split:
                aucs = p.by_attribute(sequences)
                rows.append([f"{p.tracker} (published)", *(_number(aucs.get(n), "auc") for n in names)])
        head = ["tracker", *(f"{name} ({count})" for name, count in zip(names, counts, strict=True))]
        return markdown_table(head, rows)


# What the table of means shows where it is known, with a heading and decimals.
FIGURES = {
    "auc": ("AUC", 3),
    "p20": ("P20", 3),
    "ao": ("AO", 3),
    "sr50": ("SR0.5", 3),
    "sr75": ("SR0.75", 3),
    "fps": ("FPS", 1),
    "p95_ms": ("p95 ms", 2),
}


def markdown_table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _number(value: float | None, figure: str) -> str:
    return NO_FIGURE if value is None else f"{value:.{FIGURES[figure][1]}f}"


def _row(scored: Scored) -> dict[str, Any]:
    sequence, row = scored.sequence, scored.row
    about = {
        "variant": scored.variant,
        "split": sequence.split,
        "sequence": sequence.name,
        "attributes": sorted(sequence.attributes),
        "states": row.get("states", {}),
    }
    return {key: row.get(key) for key in ROW_COLUMNS} | about | sequence_figures(scored)
