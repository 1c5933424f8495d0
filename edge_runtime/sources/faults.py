"""What goes wrong with a virtual camera, and when, as a short text."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge_runtime.errors import SourceError

FORM = re.compile(r"([a-z]+)@(\d{1,9}):([+-]?\d{1,6}(?:\.\d{1,6})?)")
# Kinds whose amount is in seconds; that of the others is in frames.
SECONDS = {"stall", "disconnect", "time"}
KINDS = ("stall", "disconnect", "time", "drop", "corrupt", "size", "dark", "hidden")
# Between what "random" draws its amounts; all kinds are as likely.
RANDOM_AMOUNTS = {
    "stall": (0.2, 4.0),
    "disconnect": (0.2, 3.0),
    "time": (-5.0, 5.0),
    "drop": (1, 30),
    "corrupt": (1, 10),
    "size": (1, 10),
    "dark": (1, 60),
    "hidden": (30, 120),
}
LEAST_RANDOM_FRAMES = 300


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of `KINDS`.
        frame: the first frame concerned, by the virtual camera's own count.
        amount: for how long, in seconds (`SECONDS`) or frames; for "time", by how much.
    """

    kind: str
    frame: int
    amount: float

    def last(self, rate_hz: float) -> int:
        """The last frame concerned."""
        if self.kind == "time":
            return self.frame
        return self.frame + math.ceil(self.amount * (rate_hz if self.kind in SECONDS else 1)) - 1


@dataclass(frozen=True)
class FaultScript:
    """What goes wrong at which frame; the same script gives the same faults.

    Attributes:
        listed: faults at given frames.
        random_frames: one more in every so many frames; 0 for none.
        seed: of those.
        kinds: from which they are drawn.
    """

    listed: tuple[Fault, ...] = ()
    random_frames: int = 0
    seed: int = 0
    kinds: tuple[str, ...] = KINDS

    @classmethod
    def parse(cls, text: str, where: str, kinds: tuple[str, ...] = KINDS) -> FaultScript:
        """From `kind@frame:amount,kind@frame:amount`, and `random@frames:seed` for random ones.

        Args:
            text: may be empty.
            where: what the text stands in, for messages.
            kinds: those that are possible.

        Raises:
            SourceError: it is not of that form, or a kind is unknown.
        """
        listed, random_frames, seed = [], 0, 0
        for part in filter(None, text.split(",")):
            form = FORM.fullmatch(part)
            if form is None:
                raise SourceError(
                    f"{part!r} is not a fault", where=where, fix="write kind@frame:amount, as in stall@90:3"
                )
            kind, frame, amount = form[1], int(form[2]), float(form[3])
            if kind == "random":
                random_frames, seed = _random(frame, amount, where)
                continue
            _check(kind, amount, where, kinds)
            listed.append(Fault(kind, frame, amount))
        return cls(tuple(listed), random_frames, seed, kinds)

    def at(self, index: int, rate_hz: float) -> dict[str, Fault]:
        """The faults that concern frame `index`, by kind."""
        # A random fault ends in the block after its own.
        found = (*self.listed, *self._random_blocks(index - self.random_frames, index))
        return {fault.kind: fault for fault in found if fault.frame <= index <= fault.last(rate_hz)}

    def starting(self, kind: str, first: int, last: int) -> list[Fault]:
        """The faults of a kind that begin in frames `first` to `last`, in order."""
        found = [*self.listed, *self._random_blocks(first, last)]
        chosen = [fault for fault in found if fault.kind == kind and first <= fault.frame <= last]
        return sorted(chosen, key=lambda fault: fault.frame)

    def _random_blocks(self, first: int, last: int) -> Iterator[Fault]:
        if self.random_frames:
            blocks = range(max(0, first // self.random_frames), last // self.random_frames + 1)
            yield from map(self._random, blocks)

    def _random(self, block: int) -> Fault:
        """The fault that begins in a block of `random_frames` frames."""
        draw = np.random.default_rng((self.seed, block))
        kind = self.kinds[int(draw.integers(len(self.kinds)))]
        least, most = RANDOM_AMOUNTS[kind]
        amount = float(draw.uniform(least, most))
        frame = block * self.random_frames + int(draw.integers(self.random_frames))
        return Fault(kind, frame, amount if kind in SECONDS else float(round(amount)))


def _random(frames: int, seed: float, where: str) -> tuple[int, int]:
    if frames < LEAST_RANDOM_FRAMES or seed < 0 or seed != int(seed):
        raise SourceError(
            f"random@{frames}:{seed:g} is out of range",
            where=where,
            fix=f"write random@FRAMES:SEED with at least {LEAST_RANDOM_FRAMES} frames from one to the next",
        )
    return frames, int(seed)


def _check(kind: str, amount: float, where: str, kinds: tuple[str, ...]) -> None:
    if kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, n=1)
        fix = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(kinds)}"
        raise SourceError(f"unknown fault {kind!r}", where=where, fix=fix)
    if kind == "time":
        return
    whole = kind in SECONDS or amount == int(amount)
    if amount <= 0 or not whole:
        unit = "seconds" if kind in SECONDS else "whole frames"
        raise SourceError(
            f"{kind} of {amount:g} is out of range", where=where, fix=f"give {unit}, more than 0"
        )
