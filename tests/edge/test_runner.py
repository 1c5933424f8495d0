from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import pytest

from edge_runtime.config import Config, load_config
from edge_runtime.errors import BoxError, ConfigError, SourceError, StorageError
from edge_runtime.outputs import Outputs
from edge_runtime.records import SCHEMA_FILE
from edge_runtime.runner import ModelIdentity, Progress, Run, RunSummary, StopSignals
from edge_runtime.sources import FakeSource
from edge_runtime.sources.fake import FakeScript
from edge_runtime.targets.targets import Targets
from tests.edge.helpers import SHA256, TemplateTracker, decoded, fake_images, opened, otb_truth, pictures

MODEL = ModelIdentity("template", SHA256)
ROOT = Path(__file__).parents[2]


def configured(**settings: Any) -> Config:
    names = {name.replace("__", "."): value for name, value in settings.items()}
    return load_config(None, {"device.name": "pi", **names})


def run(config: Config, uri: str = "fake:frames=30") -> RunSummary:
    with opened(uri) as source:
        return ran(Run(config, source))


def ran(
    run: Run, stop: StopSignals | None = None, progress: Progress | None = None, latency_s: float = 0.0
) -> RunSummary:
    targets = Targets(run.config.target, lambda: TemplateTracker(latency_s), run.first)
    return run(targets, Outputs(run.config), MODEL, stop=stop, progress=progress)


def fake_box(frame: int = 0) -> list[float]:
    return list(FakeSource().box(frame))


def records(path: Path) -> list[dict[str, Any]]:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    found = [json.loads(line) for line in path.read_text().splitlines()]
    for record in found:
        validator.validate(record)
    return found


def outputs(folder: Path) -> dict[str, str]:
    return {
        "output__tracks": str(folder / "t.jsonl"),
        "output__video": str(folder / "v.mp4"),
        "output__contact_sheet": str(folder / "s.png"),
    }


def test_a_run_tracks_publishes_draws_scores_and_sums_up(tmp_path: Path) -> None:
    truth = otb_truth(tmp_path / "groundtruth_rect.txt", [FakeSource().box(i) for i in range(30)])
    config = configured(evaluation__groundtruth=str(truth), **outputs(tmp_path))
    summary = run(config)
    found = records(tmp_path / "t.jsonl")
    assert [record["frame"] for record in found] == list(range(30))
    assert [record["box"] for record in found] == [fake_box(index) for index in range(30)]
    assert {record["device"] for record in found} == {"pi"}
    assert found[0]["psr"] is None
    assert found[0]["confidence"] == 1.0
    assert len(decoded(tmp_path / "v.mp4")) == 30
    assert cv2.imread(str(tmp_path / "s.png")) is not None
    assert summary.score is not None
    assert (summary.score.frames, summary.score.precision_20px) == (30, 1.0)
    assert summary.score.success_auc == pytest.approx(20 / 21)
    assert summary.states == {"tracking": 30}
    assert 0 < summary.p50_ms <= summary.p95_ms
    assert 0 < summary.loop_fps < summary.tracker_fps
    assert summary.files == tuple(outputs(tmp_path).values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["groundtruth_rect.txt", "s.png", "t.jsonl", "v.mp4"]


def test_the_summary_is_six_lines(tmp_path: Path) -> None:
    lines = run(configured(target__box=fake_box())).text().splitlines()
    assert [line.split()[0] for line in lines] == ["frames", "model", "speed", "states", "accuracy", "files"]
    assert "30 of 320x240 px from fake:frames=30" in lines[0]
    assert "fps (p50" in lines[2]
    assert "not measured" in lines[4]
    assert "none asked for" in lines[5]


def test_frames_before_the_target_are_searching(tmp_path: Path) -> None:
    config = configured(target__box=fake_box(10), target__frame=10, **outputs(tmp_path))
    summary = run(config, "fake:frames=15")
    found = records(tmp_path / "t.jsonl")
    assert [record["state"] for record in found] == ["searching"] * 10 + ["tracking"] * 5
    assert all(record["box"] is None for record in found[:10])
    assert found[14]["box"] == fake_box(14)
    assert summary.states == {"searching": 10, "tracking": 5}
    assert len(decoded(tmp_path / "v.mp4")) == 15


def test_one_frame_has_no_speed() -> None:
    summary = run(configured(target__box=fake_box()), "fake:frames=1")
    assert math.isnan(summary.p50_ms)
    assert "speed     not measured" in summary.text()


def test_max_frames_and_progress() -> None:
    seen: list[tuple[int, int | None]] = []
    with opened("fake:frames=30") as source:
        config = configured(target__box=fake_box(), source__max_frames=4)
        summary = ran(Run(config, source), progress=lambda *counts: seen.append(counts))
    assert summary.frames == 4
    assert seen == [(n, 4) for n in range(1, 5)]


def test_a_lost_target_is_reported(tmp_path: Path) -> None:
    elsewhere = FakeSource(FakeScript(seed=7))
    images = fake_images(3) + [elsewhere.image(index) for index in range(2)]
    folder = pictures(tmp_path / "p", images)
    summary = run(configured(target__box=fake_box(), output__tracks=str(tmp_path / "t.jsonl")), str(folder))
    assert summary.states == {"tracking": 3, "lost": 2}
    assert [record["state"] for record in records(tmp_path / "t.jsonl")] == ["tracking"] * 3 + ["lost"] * 2


@pytest.mark.parametrize(
    ("settings", "error", "expected"),
    [
        ({}, ConfigError, "no target is given"),
        ({"target__box": [0, 0, 0, 10]}, BoxError, "is empty"),
        ({"target__box": [400, 0, 10, 10]}, BoxError, "lies outside the 320x240 frame"),
        ({"target__box": [10, 10, 20, 20], "target__frame": 99}, SourceError, "ends after 30 frames"),
        ({"evaluation__groundtruth": "groundtruth.txt"}, SourceError, "cannot be read"),
    ],
)
def test_a_false_start_leaves_old_files_alone(
    tmp_path: Path, settings: dict[str, Any], error: type[Exception], expected: str
) -> None:
    for name in ("v.mp4", "s.png"):
        (tmp_path / name).write_text("old")
    with pytest.raises(error, match=expected):
        run(configured(**settings, **outputs(tmp_path)))
    assert {(tmp_path / name).read_text() for name in ("v.mp4", "s.png")} == {"old"}
    left = {p.name for p in tmp_path.iterdir()} - {"v.mp4", "s.png"}
    assert left == ({"t.jsonl"} if settings.get("target__frame") else set())


@pytest.mark.parametrize("fault", ["corrupt", "resize"])
def test_a_fault_on_the_way_keeps_the_tracks_and_drops_unfinished_pictures(
    tmp_path: Path, fault: str
) -> None:
    config = configured(target__box=fake_box(), **outputs(tmp_path))
    with pytest.raises(SourceError, match="frame 7"):
        run(config, f"fake:frames=30&fault={fault}&fault_frame=7")
    assert [record["frame"] for record in records(tmp_path / "t.jsonl")] == list(range(7))
    assert [p.name for p in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_stream_that_ends_early_is_finished(tmp_path: Path) -> None:
    config = configured(target__box=fake_box(), **outputs(tmp_path))
    assert run(config, "fake:frames=30&fault=end&fault_frame=7").frames == 7
    assert len(decoded(tmp_path / "v.mp4")) == 7


def test_a_full_disk_under_the_tracks_drops_the_pictures(tmp_path: Path) -> None:
    config = configured(target__box=fake_box(), **(outputs(tmp_path) | {"output__tracks": "/dev/full"}))
    with pytest.raises(StorageError, match="/dev/full: cannot be written"):
        run(config)
    assert list(tmp_path.iterdir()) == []


def test_signals_are_noted_and_handlers_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopSignals() as stop:
        assert stop.exit_code == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.received, stop.exit_code) == (signal.SIGTERM, 0)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_a_run_with_finished_files(tmp_path: Path, number: int, status: int) -> None:
    code = """
import sys
from pathlib import Path
from tests.edge.test_runner import *
config = configured(target__box=fake_box(), **outputs(Path(sys.argv[1])))
with StopSignals() as stop, opened("fake:frames=100000") as source:
    ran(Run(config, source), stop, latency_s=0.005)
sys.exit(stop.exit_code)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    tracks = tmp_path / "t.jsonl"
    deadline_s = time.monotonic() + 30
    while not (tracks.exists() and tracks.read_bytes().count(b"\n") >= 5):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=30) == status
    found = records(tracks)
    assert len(decoded(tmp_path / "v.mp4")) == len(found) >= 5
    assert cv2.imread(str(tmp_path / "s.png")) is not None
