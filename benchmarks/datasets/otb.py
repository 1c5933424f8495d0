"""OTB layout: `<sequence>/img/0001.jpg …` and `groundtruth_rect*.txt`, 1-based (Wu et al., PAMI 2015)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.datasets.base import Loaders, Sequence, number, numbered
from calibration.sequence_files import check_counts, folders_in, picture_files
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth, read_groundtruth

NAME = "otb"
TRUTH = "groundtruth_rect"
# Picture numbers that count, where a folder holds others as well; the truth starts at the first of them.
RANGES = {
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}
# Published results of Tiger1 start at picture 6, although pictures and truth start at 1.
OMITTED = {"Tiger1": 5}


def find(root: Path) -> Loaders:
    """Sequences by name; a folder with several targets gives one for each (`Jogging-1`, `Jogging-2`)."""
    found: Loaders = {}
    for folder in folders_in(root):
        if (folder / "img").is_dir():
            for name, truth in _targets(folder).items():
                found[name] = partial(load, name, folder, truth)
    return found


def load(name: str, folder: Path, truth_file: Path) -> Sequence:
    """One target of one folder.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    if not truth_file.is_file():
        raise SourceError("is missing", where=truth_file, fix="complete the download")
    frames, truth = cut_to_range(name, picture_files(folder / "img"), read_groundtruth(truth_file))
    check_counts(frames, truth, truth_file)
    return Sequence(name, NAME, frames, truth)


def cut_to_range(
    name: str, frames: tuple[Path, ...], truth: GroundTruth
) -> tuple[tuple[Path, ...], GroundTruth]:
    """Pictures and truth that count by the toolkit's rules.

    A rule applies only where the pictures carry the numbers that it names: copies that are cut or
    numbered anew already stay as they are.
    """
    numbers = {number(frame) for frame in frames}
    first, last = RANGES.get(name, (1, 0))
    if {first, last} <= numbers:
        kept = numbered(frames, first, last)
        start = frames.index(kept[0]) if len(truth.valid) == len(frames) else 0
        frames, truth = kept, _slice(truth, start, start + len(kept))
    omitted = OMITTED.get(name, 0)
    if omitted and len(frames) > omitted and number(frames[0]) == 1:
        frames, truth = frames[omitted:], _slice(truth, omitted, len(truth.valid))
    return frames, truth


def _targets(folder: Path) -> dict[str, Path]:
    """Names and truth files of a folder; numbered files only count where there is no plain one."""
    plain = folder / f"{TRUTH}.txt"
    several = sorted(folder.glob(f"{TRUTH}.[0-9]*.txt"))
    if plain.is_file() or not several:
        return {folder.name: plain}
    targets = {f"{folder.name}-{path.name.split('.')[1]}": path for path in several}
    # A folder copied for each of its targets is called like one of them.
    own = folder.name.rpartition("-")[2]
    mine = folder / f"{TRUTH}.{own}.txt"
    return {folder.name: mine} if mine in several else targets


def _slice(truth: GroundTruth, start: int, stop: int) -> GroundTruth:
    return GroundTruth(truth.boxes[start:stop], truth.valid[start:stop])
