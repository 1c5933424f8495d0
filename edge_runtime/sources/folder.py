"""A folder of pictures, in natural order (img2 before img10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import cv2

from edge_runtime.errors import SourceError
from edge_runtime.sources.base import RecordedSource
from edge_runtime.types import Frame

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff"}


class FolderSource(RecordedSource):
    """Every picture of a folder (not of folders inside it). Grey pictures come out as BGR.

    Raises:
        SourceError: the folder holds no pictures, or the first one cannot be decoded.
    """

    frame_rate_hz = None

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        try:
            files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror})", where=folder) from error
        if not files:
            raise SourceError("holds no pictures", where=folder, fix="give a folder of .jpg or .png files")
        self.files = sorted(files, key=lambda p: natural_key(p.name))
        self.frame_count: int = len(self.files)
        first = read_picture(self.files[0])
        self.frame_size = (first.shape[1], first.shape[0])

    def images(self) -> Iterator[Frame]:
        """The pictures, each read when it is asked for."""
        yield from map(read_picture, self.files)


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that compares runs of digits as numbers; the name itself breaks ties."""
    parts = [part for part in re.split(r"(\d+)", name.lower()) if part]
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], name


def read_picture(path: Path) -> Frame:
    """A picture file as a frame; grey ones become three equal channels. Raises `SourceError`."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise SourceError("cannot be decoded as a picture", where=path, fix="remove or replace it")
    return cast(Frame, image)
