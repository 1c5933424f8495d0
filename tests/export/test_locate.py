"""The benchmark that counts how often a filter finds the target."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import locate
from export.checkpoints import random_student, save_student
from export.student import LEVELS
from tests.export.training_data import write_data


def test_networks_are_counted_on_the_same_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    save_student(random_student(), tmp_path / "one.safetensors")
    networks = [f"{name}={tmp_path / 'one.safetensors'}" for name in ("first", "second")]
    where = ["--videos", str(tmp_path / "videos"), "--photos", str(tmp_path / "photos")]
    monkeypatch.setattr(sys, "argv", ["locate", *networks, *where, "--pairs", "6", "--crop-px", "96"])
    assert locate.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert found["located"]["first"] == found["located"]["second"]
    assert found["located"]["first"].keys() == {"near", "far", "hard"}
    shares = np.array(
        [[found["located"]["first"][kind][level] for level in LEVELS] for kind in ("near", "hard")]
    )
    assert ((shares >= 0) & (shares <= 1)).all()
    assert np.allclose(shares * 6, np.rint(shares * 6), atol=1e-3)
    assert len(found["videos"]) == 1


def test_a_missing_network_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--videos", str(tmp_path), "--photos", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["locate", f"x={tmp_path / 'no.safetensors'}", *where])
    assert locate.main() != 0
    assert capsys.readouterr().err.startswith("locate: ")
