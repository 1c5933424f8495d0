"""What a run leaves behind, and finds again: `results.jsonl`, boxes and times of every track.

    results.jsonl                             one line a sequence and variant, never changed, only added to
    boxes/<variant>/<split>/<sequence>.txt    one x,y,w,h a frame, 0-based pixels
    times/<variant>/<split>/<sequence>.txt    one time a frame, milliseconds; the first is of `init`

A later measurement with other code or another model replaces the boxes of a variant of the same name;
a line counts only while the boxes are those that it was written with.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Track
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import FloatRows
from edge_runtime.files import storage_errors, write_atomic

LOG_FILE = "results.jsonl"
BOX_DECIMALS = 3
KEY = (
    "variant", "preset", "bundle", "bundle_sha256", "dtype", "level", "config", "config_sha256",
    "revision", "split", "sequence", "frames_limit",
)  # fmt: skip


class Store:
    """The folder of a run.

    Raises:
        SourceError: a line of the log, other than a torn last one, is not a result.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / LOG_FILE
        self._rows = self._read()

    def find(self, key: dict[str, Any], *, any_revision: bool) -> dict[str, Any] | None:
        """The newest line with this key whose boxes are still there, or None."""
        wanted = {name: key[name] for name in KEY if not (any_revision and name == "revision")}
        for row in reversed(self._rows):
            if wanted.items() <= row.items():
                return row if self._has_boxes_of(row) else None
        return None

    def add(self, track: Track, row: dict[str, Any]) -> dict[str, Any]:
        """Keep a track and its line; returns the line. Boxes come first, so a line is never without."""
        names = (slug(row["variant"]), row["split"], row["sequence"])
        boxes, times = boxes_text(track.boxes), "".join(f"{t:.4f}\n" for t in track.times_ms)
        write_atomic(self._file("times", *names), times.encode())
        write_atomic(self._file("boxes", *names), boxes.encode())
        row = row | {"boxes_sha256": hashlib.sha256(boxes.encode()).hexdigest()}
        with storage_errors(self._log), self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        self._rows.append(row)
        return row

    def variants(self) -> list[str]:
        """Names of all variants whose boxes are here."""
        folder = self.folder / "boxes"
        return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def row_of_boxes(self, variant: str, split: str, sequence: str) -> dict[str, Any] | None:
        """The line that the kept boxes were written with; None if they came from elsewhere."""
        for row in reversed(self._rows):
            if (slug(row["variant"]), row["split"], row["sequence"]) == (variant, split, sequence):
                return row if self._has_boxes_of(row) else None
        return None

    def boxes(self, variant: str, split: str, sequence: str) -> FloatRows | None:
        """Kept boxes, float64 (n, 4), or None. Raises `SourceError` when they are not boxes."""
        path = self._file("boxes", variant, split, sequence)
        return read_boxes(path) if path.is_file() else None

    def times_ms(self, variant: str, split: str, sequence: str) -> FloatRows | None:
        """Kept times in milliseconds, float64 (n,), or None."""
        path = self._file("times", variant, split, sequence)
        return _numbers(path)[:, 0] if path.is_file() else None

    def _file(self, kind: str, variant: str, split: str, sequence: str) -> Path:
        return self.folder / kind / variant / split / f"{sequence}.txt"

    def _has_boxes_of(self, row: dict[str, Any]) -> bool:
        path = self._file("boxes", slug(row["variant"]), row["split"], row["sequence"])
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == row["boxes_sha256"]

    def _read(self) -> list[dict[str, Any]]:
        with storage_errors(self._log):
            self.folder.mkdir(parents=True, exist_ok=True)
            data = self._log.read_bytes() if self._log.exists() else b""
            whole = data.rfind(b"\n") + 1
            if whole < len(data):  # the process that wrote the last line was killed meanwhile
                with self._log.open("r+b") as file:
                    file.truncate(whole)
        return [_row(line, f"{self._log}:{n}") for n, line in enumerate(data[:whole].splitlines(), 1)]


def slug(label: str) -> str:
    """A variant's label as a file name."""
    return label.replace(" ", "_")


def boxes_text(boxes: FloatRows) -> str:
    """One `x,y,w,h` a line."""
    return "".join(",".join(f"{value:.{BOX_DECIMALS}f}" for value in box) + "\n" for box in boxes)


def read_boxes(path: Path) -> FloatRows:
    """Boxes as they stand in a file, float64 (n, 4). Raises `SourceError` when they are not boxes."""
    boxes = _numbers(path)
    if boxes.shape[1] != 4:
        raise SourceError(
            f"has {boxes.shape[1]} numbers a line, not the four of a box", where=path, fix="give x,y,w,h"
        )
    return boxes


def _numbers(path: Path) -> FloatRows:
    """A table of numbers, float64 (rows, columns)."""
    try:
        values = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot be read ({error})", where=path, fix="remove it and run again") from error
    if not len(values):
        raise SourceError("holds no numbers", where=path, fix="remove it and run again")
    return values


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if not isinstance(row, dict) or not row.keys() >= {*KEY, "boxes_sha256"}:
            raise ValueError("not an object with every key")
    except ValueError as error:
        raise SourceError(
            f"is not a result of this version ({error!s:.60})", where=where, fix="remove the line"
        ) from error
    return row
