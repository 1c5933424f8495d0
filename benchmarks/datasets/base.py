"""What every layout of sequences comes down to, and the pieces that their readers share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.evaluation import FloatRows, GroundTruth
from edge_runtime.sources.folder import SUFFIXES, natural_key
from edge_runtime.types import Box

LIST_FILE = "list.txt"
# Sequence names to what reads them: only the sequences that are asked for are opened.
Loaders = dict[str, Callable[[], "Sequence"]]


@dataclass(frozen=True, eq=False)
class Sequence:
    """One target in one run of pictures.

    Attributes:
        name: as score tables call it.
        layout: name of the layout that it was read from.
        frames: the n picture files in order; a sequence that is a range of a folder holds only its own.
        truth: boxes float64 (n, 4), 0-based x, y, w, h in pixels, and which of them count.
        attributes: names of the difficulties that it is known for.
        split: name of the set it belongs to.
    """

    name: str
    layout: str
    frames: tuple[Path, ...]
    truth: GroundTruth
    attributes: frozenset[str] = frozenset()
    split: str = ""

    @property
    def has_truth(self) -> bool:
        """Whether more than the first box is known, so that a track can be scored."""
        return bool(self.truth.valid[1:].any())

    def first_box(self) -> Box:
        """The box to start on. Raises `SourceError` when the first frame has none."""
        box = self.truth.box(0)
        if box is None:
            raise SourceError("the first frame has no valid box", where=f"{self.split}/{self.name}")
        return box

    def first(self, frames: int) -> Sequence:
        """The same sequence cut after so many frames."""
        truth = GroundTruth(self.truth.boxes[:frames], self.truth.valid[:frames])
        return replace(self, frames=self.frames[:frames], truth=truth)


def pictures(folder: Path) -> tuple[Path, ...]:
    """The picture files of a folder in natural order.

    Raises:
        SourceError: the folder cannot be read or holds no pictures.
    """
    try:
        files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=folder) from error
    if not files:
        raise SourceError("holds no pictures", where=folder, fix="give a folder of .jpg or .png files")
    return tuple(sorted(files, key=lambda path: natural_key(path.name)))


def number(picture: Path) -> int | None:
    """The number that a picture's name ends with, or None."""
    digits = re.search(r"(\d+)$", picture.stem)
    return int(digits[1]) if digits else None


def numbered(frames: tuple[Path, ...], first: int, last: int) -> tuple[Path, ...]:
    """The pictures whose number is between `first` and `last`, both included."""
    return tuple(f for f in frames if (n := number(f)) is not None and first <= n <= last)


def check_counts(frames: tuple[Path, ...], truth: GroundTruth, where: Path) -> None:
    """Raise `SourceError` unless there is one line of truth for each picture."""
    if len(frames) != len(truth.valid):
        raise SourceError(
            f"has {len(truth.valid)} boxes for {len(frames)} pictures",
            where=where,
            fix="complete the download, or leave the sequence out with --only",
        )


def folders_in(root: Path) -> list[Path]:
    """The sequence folders: those that `list.txt` names, or all, in order of their names.

    Raises:
        SourceError: `list.txt` names a folder that is not there.
    """
    names = root / LIST_FILE
    if not names.is_file():
        return sorted(path for path in root.iterdir() if path.is_dir())
    folders = [root / line.strip() for line in read_lines(names)]
    for folder in folders:
        if not folder.is_dir():
            raise SourceError(
                f"names {folder.name!r}, which is not there", where=names, fix="remove the line"
            )
    return folders


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that hold anything. Raises `SourceError` when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"cannot be read ({error})", where=path) from error
    return [line for line in text.splitlines() if line.strip()]


def read_flags(path: Path, frames: int) -> FloatRows:
    """One number a frame, float64 (frames,), 0 where the file ends early.

    Raises:
        SourceError: a line is not a number.
    """
    values = np.zeros(frames)
    for index, line in enumerate(read_lines(path)[:frames]):
        try:
            values[index] = float(line)
        except ValueError as error:
            raise SourceError(f"{line!r:.40} is not a number", where=f"{path}:{index + 1}") from error
    return values
