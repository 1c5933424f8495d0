"""Sequences to evaluate on, in the layouts that benchmarks publish."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.datasets import got10k, otb, uav123, vot
from benchmarks.datasets.base import Loaders, Sequence
from calibration.sequence_files import read_lines
from edge_runtime.errors import SourceError

__all__ = ["LAYOUTS", "Sequence", "open_splits"]

# In the order in which they are tried: GOT-10k's comes last, for it asks for least.
LAYOUTS: dict[str, Callable[[Path], Loaders]] = {
    uav123.NAME: uav123.find,
    otb.NAME: otb.find,
    vot.NAME: vot.find,
    got10k.NAME: got10k.find,
}
ATTRIBUTES_FILE = "attributes.csv"


def open_splits(folders: Iterable[Path], layout: str = "auto", only: Collection[str] = ()) -> list[Sequence]:
    """The sequences of some folders, each a split that is called like its folder.

    Args:
        folders: what the layout starts from: holds the sequence folders, or UAV123's `anno`.
        layout: a name in `LAYOUTS`, or "auto" for the first that finds sequences, folder by folder.
        only: names of the sequences to read; empty for all.

    Raises:
        SourceError: there is no such folder, it holds no sequences, one of those asked for is damaged, or
            no sequence has a name in `only`.
    """
    splits = {folder: _find(folder, layout) for folder in folders}
    names = {name for loaders in splits.values() for name in loaders}
    for name in sorted(set(only) - names):
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
        raise SourceError(f"no sequence is called {name!r}", where="--only", fix=f"did you mean {near[0]!r}?")
    found = []
    for folder, loaders in splits.items():
        attributes = _read_attributes(folder)
        for name in (name for name in loaders if not only or name in only):
            sequence = loaders[name]()
            known = sequence.attributes | attributes.get(name, frozenset())
            found.append(replace(sequence, split=_split_name(folder), attributes=known))
    return found


def _split_name(folder: Path) -> str:
    return folder.resolve().name


def _find(folder: Path, layout: str) -> Loaders:
    if not folder.is_dir():
        raise SourceError("is not a folder", where=folder, fix="give the folder of the sequences")
    for name in LAYOUTS if layout == "auto" else (layout,):
        loaders = LAYOUTS[name](folder)
        if loaders:
            return loaders
    tried = ", ".join(LAYOUTS) if layout == "auto" else layout
    raise SourceError(
        f"holds no sequences in layout {tried}", where=folder, fix="check --root, --splits and --layout"
    )


def _read_attributes(folder: Path) -> dict[str, frozenset[str]]:
    """Attributes by sequence, of the folder or, for several splits, of the folder around it.

    The table has the columns sequence, optionally split, and one of 0 and 1 for each attribute.
    """
    path = next(
        (p / ATTRIBUTES_FILE for p in (folder, folder.parent) if (p / ATTRIBUTES_FILE).is_file()), None
    )
    if path is None:
        return {}
    split_name, attributes = _split_name(folder), {}
    for line, row in enumerate(csv.DictReader(read_lines(path)), 2):
        name, split = row.pop("sequence", None), row.pop("split", split_name)
        if name is None or not all(flag in ("0", "1") for flag in row.values()):
            raise SourceError(
                "is not a row of attributes",
                where=f"{path}:{line}",
                fix="give the columns sequence, split and one of 0 and 1 for each attribute",
            )
        if split == split_name:
            attributes[name] = frozenset(key for key, flag in row.items() if flag == "1")
    return attributes
