"""Reading the files that data sets of sequences are made of: pictures, lists, labels, GOT-10k's folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.errors import SourceError
from edge_runtime.evaluation import FloatRows, GroundTruth, read_groundtruth
from edge_runtime.sources.folder import SUFFIXES, natural_key

LIST_FILE = "list.txt"
GOT10K_TRUTH_FILE = "groundtruth.txt"


def picture_files(folder: Path) -> tuple[Path, ...]:
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


def check_counts(frames: tuple[Path, ...], truth: GroundTruth, where: Path) -> None:
    """Raise `SourceError` unless there is one line of truth for each picture."""
    if len(frames) != len(truth.valid):
        raise SourceError(
            f"has {len(truth.valid)} boxes for {len(frames)} pictures",
            where=where,
            fix="complete the download, or leave the sequence out",
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


def read_got10k_folder(folder: Path) -> tuple[tuple[Path, ...], GroundTruth]:
    """Pictures and truth of one sequence in GOT-10k layout (Huang et al., PAMI 2021).

    A test set tells only the first box: the other frames do not count then. Frames where `absence.label`
    is not 0 or `cover.label`, the visible eighths, is 0 do not count either.

    Raises:
        SourceError: pictures or truth are missing, unreadable or do not belong together.
    """
    frames, truth = picture_files(folder), read_groundtruth(folder / GOT10K_TRUTH_FILE)
    count = len(frames)
    if len(truth.valid) == 1 < count:
        boxes = np.full((count, 4), np.nan)
        boxes[0] = truth.boxes[0]
        return frames, GroundTruth(boxes, (np.arange(count) == 0) & truth.valid[0])
    check_counts(frames, truth, folder / GOT10K_TRUTH_FILE)
    valid = truth.valid.copy()
    absence, cover = folder / "absence.label", folder / "cover.label"
    if absence.is_file():
        valid &= read_flags(absence, count) == 0
    if cover.is_file():
        valid &= read_flags(cover, count) > 0
    return frames, GroundTruth(truth.boxes, valid)
