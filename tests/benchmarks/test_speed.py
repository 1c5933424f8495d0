"""The harness with trackers that need no model, and without peers; no test depends on how long it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import peers, speed, speed_report, speed_worker
from benchmarks.datasets.base import Sequence
from edge_runtime.errors import CfvggError, DependencyError
from edge_runtime.evaluation import GroundTruth
from edge_runtime.sources import FakeSource
from edge_runtime.types import Frame, TrackResult
from tests.edge.helpers import TemplateTracker, fake_images, otb_truth, pictures

FRAMES = 12
TEMPLATE = "template=tests.edge.helpers:TemplateTracker"


class StagedTracker(TemplateTracker):
    """Says that each update spends 0.25 ms in one stage; counts on over `init`, as ours do."""

    def __init__(self) -> None:
        super().__init__()
        self.stage_ms = {"features": 1000.0}

    def update(self, image: Frame) -> TrackResult:
        self.stage_ms["features"] += 0.25
        return super().update(image)


def failing() -> Any:
    raise CfvggError("is not to be had", where="tracker", fix="give up")


class Crashing(TemplateTracker):
    def update(self, image: Frame) -> TrackResult:
        os._exit(7)


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    folder = tmp_path / "Fake"
    folder.mkdir()
    pictures(folder / "img", fake_images(FRAMES))
    otb_truth(folder / "groundtruth_rect.txt", [FakeSource().box(index) for index in range(FRAMES)])
    return folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    """Status, report (None when there is none) and standard error of a run without peers."""

    def call(*arguments: object) -> tuple[int, Any, str]:
        status = speed.main(["--peers", "--repeats", "2", *map(str, arguments)])
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else None, err

    return call


def test_a_report(run: Any, sequence: Path) -> None:
    core = min(os.sched_getaffinity(0))
    status, report, err = run(
        "--factory", TEMPLATE, "--factory", "staged=tests.benchmarks.test_speed:StagedTracker", "--stages",
        "--sequences", sequence, "--frames", 10, "--core", core,
    )  # fmt: skip
    assert status == 0
    assert report["sequences"] == {"Fake": 10}
    assert (report["core"], report["threads"], report["repeats"], report["looped_to"]) == (core, 1, 2, None)
    assert report["revision"] and report["cpu"] and report["machine"]
    template, staged = report["trackers"]
    for row in (template, staged):
        assert row["affinity"] == [core]
        assert row["updates"] == 2 * 9
        assert len(row["fps_passes"]) == 2
        assert row["fps"] > 0
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert 0 < row["cpu_share"] < 1.2
        assert row["init_ms"] > 0
        assert row["auc"] == pytest.approx(20 / 21, abs=1e-4)  # exact boxes: every threshold below 1
        assert row["p20"] == 1
        assert row["found_share"] == 1
        assert row["ratio_to_csrt"] is None
        assert row["frames_mb"] == pytest.approx(10 * 320 * 240 * 3 / 2**20, abs=1e-3)
        assert row["peak_rss_mb"] >= row["rss_before_frames_mb"] > 10
        assert row["peak_rss_without_frames_mb"] == pytest.approx(
            row["peak_rss_mb"] - row["frames_mb"], abs=1e-3
        )
        assert row["versions"]["opencv"] == cv2.__version__
        assert row["versions"]["numpy"] == np.__version__
        (part,) = row["sequences"]
        assert (part["sequence"], part["updates"], part["auc"]) == ("Fake", 18, row["auc"])
        assert "growth" not in row
    assert template["stages_ms"] == {}
    assert staged["stages_ms"]["features"] == pytest.approx(0.25)
    table = err[err.index("tracker  init ms") :].splitlines()
    assert [line.split()[0] for line in table[1:3]] == ["template", "staged"]


def test_trackers_take_turns(run: Any, sequence: Path) -> None:
    _, _, err = run("--factory", TEMPLATE, "--factory", TEMPLATE.replace("template", "other", 1),
                    "--sequences", sequence, "--frames", 3)  # fmt: skip
    order = [line.split(": ")[1] for line in err.splitlines() if line.startswith("Fake, pass")]
    assert order == ["template", "other", "other", "template"]


def test_looping_compares_the_first_tenth_with_the_last(run: Any, sequence: Path) -> None:
    status, report, err = run("--factory", TEMPLATE, "--sequences", sequence, "--frames", 4, "--loop-to", 40)
    (row,) = report["trackers"]
    assert (status, row["updates"], report["looped_to"]) == (0, 80, 40)
    assert row["auc"] is None
    (part,) = row["sequences"]
    growth = part["growth"]
    assert growth["cpu_time_ratio"] == pytest.approx(growth["last_cpu_ms"] / growth["first_cpu_ms"], rel=0.05)
    assert growth["rss_mb"] == pytest.approx(growth["last_rss_mb"] - growth["first_rss_mb"], abs=1e-3)
    assert row["growth"] == {key: growth[key] for key in ("cpu_time_ratio", "rss_mb")}
    assert "template, Fake: the last tenth takes" in err


def test_frames_go_forward_and_backward() -> None:
    assert speed_worker.bounce(4, 8) == [1, 2, 3, 2, 1, 0, 1, 2]
    assert speed_worker.bounce(4, 3) == [1, 2, 3]
    assert speed_worker.bounce(1, 3) == [0, 0, 0]


def test_growth_is_seen_where_there_is_some() -> None:
    truth = GroundTruth(np.array([[1.0, 1, 9, 9]] * 2), np.array([True, True]))
    sequence = Sequence("s", "otb", (Path("1"), Path("2")), truth)
    updates = 100
    answer = {
        "init_ms": 5.0, "update_ms": [1.0] * 50 + [3.0] * 50, "cpu_ms": [0.5] * 50 + [1.5] * 50,
        "boxes": [[1, 1, 9, 9]] * 75 + [None] * 25, "wall_s": 0.2, "peak_rss_mb": 90.0, "stage_ms": {},
        "rss_mb": [[k, 50.0 + k / 10] for k in range(0, updates, 5)],
    }  # fmt: skip
    one = speed_report.Pass(sequence, 10.0, answer)
    row = speed_report.summarise("name", {"kind": "test"}, [one, one], looped=True, stages=False)
    assert row["growth"] == {"cpu_time_ratio": 3.0, "rss_mb": pytest.approx(9.0)}
    assert row["sequences"][0]["growth"]["first_box_px"] == 9
    assert row["sequences"][0]["growth"]["last_box_px"] is None
    assert (row["fps"], row["cpu_share"], row["found_share"]) == (500.0, 0.5, 0.75)
    assert row["fps_cpu"] == 1000.0
    assert row["fps_found"] == pytest.approx(75 / 0.125)
    report = speed_report.assemble(
        [row | {"tracker": "CSRT"}, row | {"fps": 1000.0, "fps_found": None}], [sequence],
        {"core": 0, "repeats": 2, "loop_to": updates},
    )  # fmt: skip
    csrt, other = report["trackers"]
    assert (csrt["ratio_to_csrt"], csrt["ratio_found_to_csrt"]) == (1, 1)
    assert (other["ratio_to_csrt"], other["ratio_found_to_csrt"]) == (2, None)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert len(speed_report.table(report).splitlines()) == 5


def test_a_tracker_that_gives_no_box_misses_those_frames() -> None:
    truth = GroundTruth(np.array([[1.0, 1, 9, 9]] * 4), np.array([True] * 4))
    sequence = Sequence("s", "otb", tuple(map(Path, "1234")), truth)
    answer = {
        "init_ms": 5.0, "update_ms": [1.0] * 3, "cpu_ms": [1.0] * 3, "wall_s": 0.003, "stage_ms": {},
        "boxes": [[1, 1, 9, 9], None, None], "peak_rss_mb": 90.0, "rss_mb": [[0, 50.0]],
    }  # fmt: skip
    one = speed_report.Pass(sequence, 10.0, answer)
    row = speed_report.summarise("name", {}, [one], looped=False, stages=False)
    assert row["auc"] == pytest.approx(0.5 * 20 / 21)


def test_the_composed_clip_serves_without_sequences(run: Any) -> None:
    pytest.importorskip("skimage", reason="the clip is made of scikit-image's photos")
    status, report, _ = run("--factory", TEMPLATE, "--frames", 3)
    assert (status, report["sequences"]) == (0, {"composed": 3})
    assert report["trackers"][0]["auc"] > 0.5


def test_long_sequences_are_cut_to_what_memory_is_given(run: Any, sequence: Path) -> None:
    _, report, _ = run("--factory", TEMPLATE, "--sequences", sequence.parent, "--frames-mb", 1)
    assert report["sequences"] == {"Fake": 4}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "no tracker is given"),
        (["--factory", "template"], "give NAME=MODULE:CALLABLE"),
        (["--factory", TEMPLATE, "--factory", TEMPLATE], "several trackers are called 'template'"),
        (["--factory", TEMPLATE, "--core", "4096"], "--core 4096 is not ours"),
        (["--factory", "bad=tests.benchmarks.test_speed:failing"], "bad: tracker: is not to be had; give up"),
        (["--factory", "bad=tests.benchmarks.test_speed:nothing"], "bad: AttributeError: "),
        (["--factory", "bad=tests.benchmarks.test_speed:Crashing"], "bad: its process ended with status 7"),
        (["--factory", TEMPLATE, "--sequences", "no/such"], "no/such: is not a folder"),
        (["--factory", TEMPLATE, "--frames", "1"], "Fake: 1 frames are too few"),
        (["--presets", "fkcf"], "fkcf needs a network"),
        (["--peer-models", "."], "holds no nanotrackv2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(run: Any, sequence: Path, options: list[str], words: str) -> None:
    status, report, err = run("--sequences", sequence, *options)
    (line,) = [line for line in err.splitlines() if not line.startswith("Fake, pass")]
    assert line.startswith("speed: ")
    assert words in line
    assert (status, report) == (2, None)


def test_a_picture_that_cannot_be_decoded_is_named(run: Any, sequence: Path) -> None:
    (sequence / "img" / "3.png").write_bytes(b"torn")
    _, report, err = run("--sequences", sequence, "--factory", TEMPLATE)
    assert report is None
    assert "3.png" in err


def test_workers_end_with_who_started_them() -> None:
    core, spec = (
        str(min(os.sched_getaffinity(0))),
        json.dumps({"kind": "factory", "factory": TEMPLATE.split("=")[1]}),
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed_worker", core, spec], cwd=speed.ROOT, check=False,
        input='{"do": "hello"}\n', capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["affinity"] == [int(core)]


def test_environments_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commands: list[list[str]] = []

    def pretend(command: list[str], **_: object) -> Any:
        commands.append([str(part) for part in command])
        python = tmp_path / "name" / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()
        failed = "bad==0" in command
        return subprocess.CompletedProcess(command, int(failed), "", "warning\nERROR: no bad==0\n")

    monkeypatch.setattr(peers.subprocess, "run", pretend)
    for requirements, made in ((["a==1"], 2), (["a==1"], 0), (["a==2"], 2)):
        commands.clear()
        assert peers.make_environment("name", requirements, tmp_path) == tmp_path / "name" / "bin" / "python"
        assert len(commands) == made
    for _ in range(2):  # a failed one is tried again
        with pytest.raises(DependencyError, match=r"name: cannot be made \(ERROR: no bad==0\)"):
            peers.make_environment("name", ["bad==0"], tmp_path)
        assert commands[-1][-1] == "bad==0"
