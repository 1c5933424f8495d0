"""ILSVRC-2015 VID: `Data/VID/<set>/…/<snippet>/000000.JPEG` and `Annotations/VID/…/000000.xml`.

The annotations are in PASCAL VOC's format with a number for each object that is followed. Corners are
0-based and both included: the development kit computes sizes as xmax - xmin + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

import numpy as np

from calibration.sequence_files import picture_files
from edge_runtime.errors import SourceError
from edge_runtime.evaluation import FloatRows
from edge_runtime.sources.folder import natural_key

SETS = ("train", "val")  # the test set's boxes were never published
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(root: Path) -> Iterator[tuple[str, tuple[Path, ...], FloatRows]]:
    """Name (`snippet/trackid`), frames and boxes, float64 (n, 4), of every object that is followed.

    Boxes are NaN where the object is not annotated. Snippets whose pictures are not there are left out:
    the training set comes in parts.

    Raises:
        SourceError: a snippet lacks pictures or annotations, or an annotation is broken.
    """
    for name in SETS:
        annotations, pictures = (root / kind / "VID" / name for kind in ("Annotations", "Data"))
        if annotations.is_dir() and pictures.is_dir():
            for snippet in _snippets(pictures):
                yield from _read_snippet(snippet, annotations / snippet.relative_to(pictures))


def _snippets(pictures: Path) -> Iterator[Path]:
    """The folders that hold files: one level down in the validation set, two in the training set."""
    for folder in sorted(path for path in pictures.iterdir() if path.is_dir()):
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        yield from inner or [folder]


def _read_snippet(pictures: Path, annotations: Path) -> Iterator[tuple[str, tuple[Path, ...], FloatRows]]:
    frames = picture_files(pictures)
    files = sorted(annotations.glob("*.xml"), key=lambda path: natural_key(path.name))
    if [path.stem for path in files] != [path.stem for path in frames]:
        raise SourceError(
            f"{len(files)} annotations do not match the {len(frames)} pictures in {pictures}",
            where=annotations,
            fix="complete the download, or remove the snippet's pictures",
        )
    tracks: dict[str, FloatRows] = {}
    for index, path in enumerate(files):
        for track, box in read_annotation(path).items():
            tracks.setdefault(track, np.full((len(frames), 4), np.nan))[index] = box
    for track, boxes in tracks.items():
        yield f"{pictures.name}/{track}", frames, boxes


def read_annotation(path: Path) -> dict[str, tuple[float, float, float, float]]:
    """Boxes x, y, w, h by track of one picture.

    Raises:
        SourceError: the file is no XML, or an object lacks its track or a corner; with the line.
    """
    reader = _Annotation(path)
    try:
        reader.parser.Parse(path.read_bytes(), True)
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=path) from error
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise SourceError(
            f"is broken XML ({reason})", where=f"{path}:{error.lineno}", fix="complete the download"
        ) from error
    return reader.boxes


class _Annotation:
    """Follows the parser through one file: ElementTree would not tell the lines."""

    def __init__(self, path: Path) -> None:
        self.path, self.boxes = path, dict[str, tuple[float, float, float, float]]()
        self.open, self.text = list[str](), ""
        self.values, self.lines = dict[str, str](), dict[str, int]()
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.open.append(tag)
        self.text = ""
        if self.open[1:] == ["object"]:
            self.values, self.lines = {}, {"object": self.parser.CurrentLineNumber}

    def _characters(self, text: str) -> None:
        self.text += text

    def _end(self, tag: str) -> None:
        if self.open[1:] in (["object", "trackid"], ["object", "bndbox", tag]):
            self.values[tag] = self.text.strip()
            self.lines[tag] = self.parser.CurrentLineNumber
        elif self.open[1:] == ["object"]:
            left, top, right, bottom = (self._number(corner) for corner in CORNERS)
            self.boxes[self._value("trackid")] = (left, top, right - left + 1, bottom - top + 1)
        self.open.pop()
        self.text = ""

    def _value(self, tag: str) -> str:
        if not self.values.get(tag):
            line = self.lines.get(tag, self.lines["object"])
            raise SourceError(f"the object has no <{tag}>", where=f"{self.path}:{line}")
        return self.values[tag]

    def _number(self, tag: str) -> float:
        value = self._value(tag)
        try:
            return float(value)
        except ValueError as error:
            raise SourceError(
                f"<{tag}> is {value!r:.40}, not a number", where=f"{self.path}:{self.lines[tag]}"
            ) from error
