"""What every layout of sequences comes down to."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edge_runtime.errors import SourceError
from edge_runtime.evaluation import GroundTruth
from edge_runtime.types import Box

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

    def segments(self, starts: int) -> list[Sequence]:
        """This sequence, and its ends from `starts` - 1 later frames on: "Deer@24" from the 25th frame.

        That is temporal robustness evaluation (Wu et al., Online object tracking: a benchmark, 2013).

        The starts are evenly spaced, each at the next frame that has a box; those with no box to score after
        it are left out.
        """
        found = {0: self}
        for part in range(1, starts):
            start = part * len(self.frames) // starts
            start += int(self.truth.valid[start:].argmax())
            truth = GroundTruth(self.truth.boxes[start:], self.truth.valid[start:])
            later = replace(self, name=f"{self.name}@{start}", frames=self.frames[start:], truth=truth)
            if truth.valid[0] and later.has_truth:
                found[start] = later
        return list(found.values())


def number(picture: Path) -> int | None:
    """The number that a picture's name ends with, or None."""
    digits = re.search(r"(\d+)$", picture.stem)
    return int(digits[1]) if digits else None


def numbered(frames: tuple[Path, ...], first: int, last: int) -> tuple[Path, ...]:
    """The pictures whose number is between `first` and `last`, both included."""
    return tuple(f for f in frames if (n := number(f)) is not None and first <= n <= last)
