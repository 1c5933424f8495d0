"""UAV123 layout: `data_seq/UAV123/<folder>/000001.jpg …`, `anno/UAV123/<name>.txt`, 1-based (Mueller 2016).

Several sequences may be ranges of pictures of one folder (`bird1_1` of `bird1`). The data set's own
`configSeqs.m` tells them, or a `sequences.csv` with the columns name, folder, first, last beside it.
"""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.datasets.base import Loaders, Sequence, numbered
from calibration.sequence_files import check_counts, picture_files, read_lines
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import read_groundtruth

NAME = "uav123"
ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SOB")
SUBSETS = ("UAV123", "UAV123_10fps", "UAV20L")  # the first that has annotations is taken
CSV_FILE, MATLAB_FILE = "sequences.csv", "configSeqs.m"
ENTRY = re.compile(
    r"'name'\s*,\s*'(?P<name>[^']+)'\s*,\s*'path'\s*,\s*(?:\[[^']*)?'(?P<path>[^']+)'\s*\]?\s*,"
    r"\s*'startFrame'\s*,\s*(?P<first>\d+)\s*,\s*'endFrame'\s*,\s*(?P<last>\d+)"
)


class Range(NamedTuple):
    """Pictures `first` to `last`, both included, of a folder."""

    folder: str
    first: int
    last: int


def find(root: Path) -> Loaders:
    """Sequences by name: one for each annotation file."""
    subset = next((s for s in SUBSETS if (root / "anno" / s).is_dir()), None)
    if subset is None:
        return {}
    ranges = _ranges(root, subset)
    files = sorted((root / "anno" / subset).glob("*.txt"))
    return {file.stem: partial(load, root, subset, file, ranges.get(file.stem)) for file in files}


def load(root: Path, subset: str, truth_file: Path, pictures_range: Range | None) -> Sequence:
    """One sequence; without a range it is the whole folder of its own name.

    Raises:
        SourceError: pictures, truth or range are missing, unreadable or do not belong together.
    """
    name = truth_file.stem
    data = root / "data_seq" / subset
    # UAV20L's sequences are ranges of UAV123's folders.
    data = data if data.is_dir() else root / "data_seq" / SUBSETS[0]
    truth = read_groundtruth(truth_file, one_based=True)
    if pictures_range is not None:
        frames = numbered(
            picture_files(data / pictures_range.folder), pictures_range.first, pictures_range.last
        )
    elif (data / name).is_dir():
        frames = picture_files(data / name)
    else:
        raise SourceError(
            f"no pictures are known for {name}",
            where=data / name,
            fix=f"put the data set's {MATLAB_FILE}, or a {CSV_FILE} (name,folder,first,last), into {root}",
        )
    check_counts(frames, truth, truth_file)
    return Sequence(name, NAME, frames, truth, _attributes(truth_file.parent / "att" / truth_file.name))


def _attributes(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    flags = re.split(r"[,\s]+", " ".join(read_lines(path)).strip())
    if len(flags) != len(ATTRIBUTES) or not set(flags) <= {"0", "1"}:
        raise SourceError(
            f"does not hold {len(ATTRIBUTES)} values 0 or 1", where=path, fix="complete the download"
        )
    return frozenset(a for a, flag in zip(ATTRIBUTES, flags, strict=True) if flag == "1")


def _ranges(root: Path, subset: str) -> dict[str, Range]:
    if (root / CSV_FILE).is_file():
        return _csv_ranges(root / CSV_FILE)
    if (root / MATLAB_FILE).is_file():
        return _matlab_ranges("\n".join(read_lines(root / MATLAB_FILE)), subset)
    return {}


def _csv_ranges(path: Path) -> dict[str, Range]:
    rows = csv.DictReader(read_lines(path))
    try:
        return {row["name"]: Range(row["folder"], int(row["first"]), int(row["last"])) for row in rows}
    except (KeyError, ValueError, TypeError) as error:
        raise SourceError(
            f"is not a table of ranges ({error})", where=path, fix="give the columns name,folder,first,last"
        ) from error


def _matlab_ranges(text: str, subset: str) -> dict[str, Range]:
    """Entries of the block `seq<subset>={…};`; the whole text where there is no such block."""
    block = re.search(rf"\bseq{subset}\s*=\s*\{{(.*?)\}}\s*;", text, re.DOTALL)
    entries = ENTRY.finditer(block[1] if block else text)
    return {
        entry["name"]: Range(
            entry["path"].rstrip("\\/").replace("\\", "/").rpartition("/")[2],
            int(entry["first"]),
            int(entry["last"]),
        )
        for entry in entries
    }
