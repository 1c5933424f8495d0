"""The official VOT toolkit runs our TraX server, as a program of its own in its own environment.

The toolkit is under the GPL: nothing of it is imported here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import make_environment
from edge_runtime.evaluation import iou

TOOLKIT = ("vot-toolkit==0.9.0", "attributee==0.1.9")  # a later attributee breaks it
FRAMES = 50
CFVGG_EDGE = Path(sys.executable).with_name("cfvgg-edge")
STATE = re.compile(r'@@TRAX:state "([-\d.,]+)" "confidence=([\d.]+)"')
STACK = """
title: small
experiments:
  baseline:
    type: unsupervised
    repetitions: 1
    analyses:
      - type: average_accuracy
"""


class Toolkit:
    """The `vot` program in a workspace with two trackers: ours, and ours without its bundle."""

    def __init__(self, workspace: Path, python: Path, bundle: Path) -> None:
        self.workspace, self.python = workspace, python
        self.dummy = workspace / "tmp" / f"vot_dummy_{FRAMES}_640_480_1"
        command = f"{CFVGG_EDGE} trax --preset fkcf --bundle"
        (workspace / "tmp").mkdir()
        (workspace / "trackers.ini").write_text(
            f"[ours]\nlabel = ours\nprotocol = trax\ncommand = {command} {bundle}\n"
            f"[broken]\nprotocol = trax\ncommand = {command} {workspace / 'nothing'}\n"
        )

    def __call__(self, *arguments: str) -> str:
        """Everything that it prints."""
        # The dummy sequence goes to the folder for temporary files.
        environment = os.environ | {"TMPDIR": str(self.workspace / "tmp"), "MPLBACKEND": "agg"}
        done = subprocess.run(
            [self.python, "-m", "vot", *arguments], cwd=self.workspace, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$CFVGG_TEST_BUNDLE, or the shipped student exported now."""
    given = os.environ.get("CFVGG_TEST_BUNDLE")
    if given:
        return Path(given).resolve()
    path = tmp_path_factory.mktemp("bundles") / "shipped"
    export = [sys.executable, "-c", "from export.cli import main; main()", "--int8", "--out", str(path)]
    subprocess.run(export, check=True, capture_output=True)
    return path


@pytest.fixture
def vot(slow: None, tmp_path: Path, request: pytest.FixtureRequest) -> Toolkit:
    python = make_environment("vot-toolkit", TOOLKIT)
    return Toolkit(tmp_path, python, request.getfixturevalue("bundle"))


def show(text: str) -> None:
    """For the person who runs `.ci/vot-check`."""
    sys.stdout.write(f"{text}\n")


def test_vot_test_passes(vot: Toolkit) -> None:
    transcript = vot("--registry", "trackers.ini", "test", "ours")
    show("\n".join(transcript.splitlines()[:6] + ["…"] + transcript.splitlines()[-6:]))
    assert "Test concluded successfuly" in transcript  # so it spells it
    assert "Error" not in transcript
    states = STATE.findall(transcript)
    assert len(states) == FRAMES
    boxes = np.array([[float(value) for value in box.split(",")] for box, _ in states])
    truth = np.loadtxt(vot.dummy / "groundtruth.txt", delimiter=",")
    overlaps = iou(boxes, truth)
    show(f"mean overlap on the toolkit's dummy sequence {overlaps.mean():.3f}, least {overlaps.min():.3f}")
    assert overlaps[0] == 1
    assert overlaps.mean() > 0.6


def test_vot_test_tells_why_a_tracker_does_not_start(vot: Toolkit) -> None:
    transcript = vot("--registry", "trackers.ini", "test", "broken")
    assert "concluded" not in transcript
    reason = f"{vot.workspace / 'nothing'}: is not a bundle folder"
    assert f"Error during tracker execution: Server terminated the session: {reason}" in transcript


def test_vot_evaluate_and_analysis_read_what_the_server_says(vot: Toolkit) -> None:
    vot("--registry", "trackers.ini", "test", "ours")  # makes the dummy sequence
    shutil.copytree(vot.dummy, vot.workspace / "sequences" / "dummy")
    (vot.workspace / "sequences" / "list.txt").write_text("dummy\n")
    (vot.workspace / "stack.yaml").write_text(STACK)
    (vot.workspace / "config.yaml").write_text('registry: ["./trackers.ini"]\nstack: ./stack.yaml\n')
    assert "Evaluation concluded successfuly" in vot("evaluate", "--workspace", ".", "ours")
    results = vot.workspace / "results" / "ours" / "baseline" / "dummy"
    confidences = np.loadtxt(results / "dummy_001_confidence.value")
    assert len(confidences) == FRAMES
    assert confidences[0] == 1
    assert ((confidences >= 0) & (confidences <= 1)).all()
    vot("analysis", "--workspace", ".", "--format", "json", "--name", "a", "ours")
    (report,) = (vot.workspace / "analysis").rglob("*.json")
    accuracy: Any = json.loads(report.read_text())["results"]["baseline"]["results"]
    while isinstance(accuracy, list):
        (accuracy,) = accuracy
    assert accuracy > 0.6
