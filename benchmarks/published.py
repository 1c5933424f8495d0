"""Published trackers' scores by sequence, to stand beside ours."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets.base import Sequence
from calibration.sequence_files import read_lines
from edge_runtime.errors import SourceError

COLUMNS = ("tracker", "split", "sequence", "success_auc", "precision_20px")


@dataclass(frozen=True)
class Published:
    """A published tracker's scores on the sequences of one split: `scores[sequence] = (auc, p20)`."""

    tracker: str
    split: str
    scores: dict[str, tuple[float, float]]

    def summary(self) -> dict[str, Any]:
        """Means over the sequences."""
        auc, p20 = np.mean(list(self.scores.values()), 0)
        return {"sequences": len(self.scores), "auc": float(auc), "p20": float(p20)}

    def by_attribute(self, sequences: Iterable[Sequence]) -> dict[str, float]:
        """Mean AUC over the sequences that have an attribute, by attribute."""
        aucs: dict[str, list[float]] = defaultdict(list)
        for sequence in sequences:
            for attribute in sequence.attributes:
                aucs[attribute].append(self.scores[sequence.name][0])
        return {attribute: float(np.mean(values)) for attribute, values in aucs.items()}


def read_published(
    path: Path, sequences: Collection[Sequence], trackers: Collection[str] = ()
) -> list[Published]:
    """Trackers that have scores on every one of `sequences` of a split, over exactly these.

    Args:
        path: CSV with the columns of `COLUMNS`.
        trackers: names to take; empty for all.

    Raises:
        SourceError: the table cannot be read, or has no tracker of a name that is asked for.
    """
    table: dict[tuple[str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
    for line, row in enumerate(csv.DictReader(read_lines(path)), 2):
        try:
            tracker, split, sequence, auc, p20 = (row[column] for column in COLUMNS)
            table[tracker, split][sequence] = (float(auc), float(p20))
        except (KeyError, ValueError, TypeError) as error:
            raise SourceError(
                f"is not a row of scores ({error})",
                where=f"{path}:{line}",
                fix=f"give the columns {','.join(COLUMNS)}",
            ) from error
    known = sorted({tracker for tracker, _ in table})
    for name in trackers:
        if name not in known:
            raise SourceError(f"has no tracker {name!r}", where=path, fix=f"use {', '.join(known)}")
    wanted: dict[str, list[str]] = defaultdict(list)
    for sequence in sequences:
        wanted[sequence.split].append(sequence.name)
    return [
        Published(tracker, split, {name: scores[name] for name in wanted[split]})
        for (tracker, split), scores in table.items()
        if (not trackers or tracker in trackers) and wanted[split] and scores.keys() >= set(wanted[split])
    ]
