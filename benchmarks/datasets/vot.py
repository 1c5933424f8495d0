"""VOT layout: `<sequence>/color/00000001.jpg …`, `groundtruth.txt`, 0-based, and tags by frame."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.datasets.base import Loaders, Sequence
from calibration.sequence_files import check_counts, folders_in, picture_files, read_flags, read_lines
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth

NAME = "vot"
TRUTH_FILE = "groundtruth.txt"
UNKNOWN = (np.nan,) * 4


def find(root: Path) -> Loaders:
    """Sequences by name, if one of them has what only VOT's have: `color/`, `sequence`, tags or polygons."""
    folders = [folder for folder in folders_in(root) if (folder / TRUTH_FILE).is_file()]
    if not any(map(_is_vot, folders)):
        return {}
    loaders: Loaders = {}
    for folder in folders:
        loaders[_properties(folder).get("name", folder.name)] = partial(load, folder)
    return loaders


def load(folder: Path) -> Sequence:
    """One sequence; polygons become the rectangles around them. Attributes are the tags set in any frame.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    properties = _properties(folder)
    frames = picture_files(_picture_folder(folder, properties))
    truth_file = folder / properties.get("groundtruth", TRUTH_FILE)
    lines = enumerate(read_lines(truth_file), 1)
    boxes = np.array([_rectangle(line, f"{truth_file}:{n}") for n, line in lines]).reshape(-1, 4)
    truth = GroundTruth(boxes, np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1))
    check_counts(frames, truth, truth_file)
    tags = frozenset(path.stem for path in folder.glob("*.tag") if read_flags(path, len(frames)).any())
    return Sequence(properties.get("name", folder.name), NAME, frames, truth, tags)


def _is_vot(folder: Path) -> bool:
    if (folder / "color").is_dir() or (folder / "sequence").is_file() or any(folder.glob("*.tag")):
        return True
    first = next(iter(read_lines(folder / TRUTH_FILE)), "")
    return len(re.split(r"[,\s]+", first.strip())) > 4


def _properties(folder: Path) -> dict[str, str]:
    """The `key=value` lines of the `sequence` file; none where there is no file."""
    path = folder / "sequence"
    lines = read_lines(path) if path.is_file() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def _picture_folder(folder: Path, properties: dict[str, str]) -> Path:
    channel = properties.get("channels.color", "").replace("\\", "/")
    if channel:
        named = folder / channel
        return named.parent if named.suffix else named
    return folder / "color" if (folder / "color").is_dir() else folder


def _rectangle(line: str, where: str) -> tuple[float, ...]:
    """x, y, w, h around a rectangle or polygon; NaN for the special regions, which are single numbers."""
    try:
        values = np.array([float(part) for part in re.split(r"[,\s]+", line.strip().strip(","))])
    except ValueError as error:
        masks = line.lstrip().startswith("m")
        raise SourceError(
            "is a mask" if masks else f"{line!r:.60} is not a region",
            where=where,
            fix="give rectangles x,y,w,h or polygons x1,y1,x2,y2,x3,y3,…",
        ) from error
    if len(values) == 1:
        return UNKNOWN
    if len(values) == 4:
        return tuple(values.tolist())
    if len(values) < 6 or len(values) % 2:
        raise SourceError(
            f"{len(values)} numbers, neither a rectangle nor a polygon",
            where=where,
            fix="give x,y,w,h or x1,y1,x2,y2,x3,y3,…",
        )
    low, high = values.reshape(-1, 2).min(0), values.reshape(-1, 2).max(0)
    return (*low.tolist(), *(high - low).tolist())
