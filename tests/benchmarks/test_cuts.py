"""Cutting one sequence to another, with a tracker that needs no network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest

from benchmarks import cuts
from edge_runtime.types import Box, Frame
from tests.tracker.pixels import scene, texture


def write(folder: Path, frames: list[Frame], first: Box) -> None:
    (folder / "img").mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        assert cv2.imwrite(str(folder / "img" / f"{number:04d}.png"), frame)
    line = ",".join(f"{v:g}" for v in (first.x + 1, first.y + 1, first.w, first.h))
    (folder / "groundtruth_rect.txt").write_text(f"{line}\n" * len(frames))


def test_a_cut_is_noticed_and_none_is_not_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = [scene(110 + k, 150 + k) for k in range(50)]
    empty = [texture(240, 320, seed=90 + k, smooth_px=1.0) for k in range(50)]
    for name, frames in (("A", moving), ("B", moving), ("C", empty), ("D", moving)):
        write(tmp_path / name, frames, Box.from_centre(110, 150, 48, 48))
    command = ["cuts", "--sequences", str(tmp_path), "--presets", "kcf"]
    monkeypatch.setattr(sys, "argv", command)
    cuts.main()
    found = json.loads(capsys.readouterr().out)
    # A is cut to D, B to A, C to B and D to C: only the last one has nothing to follow.
    assert (found["preset"], found["cuts"]) == ("kcf", 4)
    assert found["lost_soon"] >= 0.25
    assert found["wrong"] <= 0.75


def test_pictures_stop_at_the_count(tmp_path: Path) -> None:
    write(tmp_path / "A", [scene(110, 150)] * 3, Box.from_centre(110, 150, 48, 48))
    (sequence,) = cuts.datasets.open_splits([tmp_path])
    assert len(cuts.pictures(sequence, 2)) == 2
    assert len(cuts.pictures(sequence, 9)) == 3
