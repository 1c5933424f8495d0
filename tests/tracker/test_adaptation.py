"""Adaptation to a target: crops, training, and a tracker that never waits for it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from benchmarks.synthetic_clip import compose
from edge_runtime.adaptation.background import Adapted, BackgroundTask, Request, Worker, WorkerError, train
from edge_runtime.adaptation.crops import cut_crops
from edge_runtime.adaptation.settings import AdaptConfig
from edge_runtime.adaptation.tracker import AdaptiveTracker, tracker_for
from edge_runtime.adaptation.trainer import Outcome
from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.features import NetworkFeatures
from edge_runtime.sources import FakeSource
from edge_runtime.trackers.base import CorrelationTracker
from edge_runtime.types import Box, Frame

FAST = AdaptConfig("background", iterations=2, positives=4, negatives=4, crop_px=128)
PRESETS = ["fkcf", "feco", "fdeepstrcf"]


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> Bundle:
    return Bundle.open(bundle_path)


@pytest.fixture(scope="module")
def clip() -> list[tuple[Frame, Box]]:
    return list(itertools.islice(compose(), 25))


def request_of(frame: Frame, box: Box, bundle: Bundle, dtype: str, config: AdaptConfig) -> Request:
    return Request(frame, box, bundle, dtype, config, ("conv3", "high"))


def adaptive(
    bundle: Bundle, config: AdaptConfig = FAST, preset: str = "feco", worker: Worker = train
) -> AdaptiveTracker:
    settings = replace(load_config(None, {"tracker.preset": preset}), adapt=config)
    tracker = tracker_for(settings, NetworkFeatures(bundle, "int8"))
    assert isinstance(tracker, AdaptiveTracker)
    tracker.worker = worker
    return tracker


def overlap(a: Box, b: Box) -> float:
    w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    inside = max(w, 0) * max(h, 0)
    return inside / (a.w * a.h + b.w * b.h - inside)


# Workers, which other processes import.


def crash(request: Request) -> Adapted:
    os._exit(3)


def hang(request: Request) -> Adapted:
    time.sleep(60)
    raise AssertionError


def refuse(request: Request) -> Adapted:
    raise ConfigError("no such thing")


def stumble(request: Request) -> Adapted:
    raise IndexError("nobody thought of this")


def chatter(request: Request) -> Adapted:
    print("a library says hello")  # noqa: T201 (this is the point)
    os.write(1, b"and once more")
    return Adapted(None, Outcome(None, 0, 0, 0, 0, "none"), 0.0)


def surroundings(request: Request) -> Adapted:
    told = {
        "nice": os.nice(0),
        "cores": sorted(os.sched_getaffinity(0)),
        "policy": os.sched_getscheduler(0),
        "killed first": Path("/proc/self/oom_score_adj").read_text().strip(),
        "threads": os.environ["OPENBLAS_NUM_THREADS"],
    }
    return Adapted(None, Outcome(None, 0, 0, 0, 0, json.dumps(told)), 0.0)


def test_crops_show_the_target_where_they_say(clip: list[tuple[Frame, Box]]) -> None:
    """A red square on noise: its centre of mass in every crop is where `shifts_px` says."""
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[100:120, 150:170, 2] = 255
    box = Box(150, 100, 20, 20)
    rng = np.random.default_rng(0)
    crops = cut_crops(frame, box, positives=20, negatives=20, search_scale=4.5, crop_px=160, rng=rng)
    assert crops.target_px == pytest.approx((160 / 4.5, 160 / 4.5))
    assert crops.present[:20].all()
    assert len(crops.patches) == 40
    middle = (160 - 1) / 2
    for patch, shift in zip(crops.patches[:20], crops.shifts_px, strict=False):
        rows, columns = np.nonzero(patch[..., 2] > 64)
        found = rows.mean() - middle, columns.mean() - middle
        assert found == pytest.approx(shift, abs=1.0)
    assert not crops.present[20:].any()
    beside = np.abs(crops.shifts_px[20:]).max(1)
    assert (beside >= (160 + 160 / 4.5) / 2 - 1).all()
    assert not crops.patches[20:, ..., 2].any()  # nothing of the target


AWKWARD = {
    "corner": Box(0, 0, 30, 30),
    "other corner": Box(300, 220, 20, 20),
    "ten pixels": Box(100, 100, 10, 10),
    "whole frame": Box(-10, -10, 340, 260),
    "sliver": Box(5, 5, 310, 2),
}


@pytest.mark.parametrize("box", AWKWARD.values(), ids=AWKWARD)
def test_awkward_targets_are_trained_on(bundle: Bundle, box: Box) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    result = train(request_of(frame, box, bundle, "int8", FAST))
    assert np.isfinite(result.outcome.loss_before)
    assert (result.model is None) == bool(result.outcome.reason)


@pytest.mark.parametrize("mode", ["blocking", "background"])
@pytest.mark.parametrize("name", ["corner", "ten pixels", "whole frame"])
def test_awkward_targets_are_tracked_on_and_the_log_says_what_happened(
    bundle: Bundle, mode: Literal["blocking", "background"], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    frame = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    tracker = adaptive(bundle, replace(FAST, mode=mode), preset="feco")
    tracker.init(frame, AWKWARD[name])
    assert tracker.wait(60)
    assert isinstance(tracker.last, Adapted)
    (line,) = [record.getMessage() for record in caplog.records if "iterations" in record.getMessage()]
    assert f"{tracker.last.outcome.negatives} background crops" in line
    assert ("stays as it is" in line) == (tracker.last.model is None)
    for _ in range(3):
        assert np.isfinite(tracker.update(frame).box).all()


def test_a_frame_without_room_for_negatives(bundle: Bundle) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)
    result = train(request_of(frame, Box(0, 0, 100, 100), bundle, "int8", FAST))
    assert result.outcome.negatives == 0
    assert result.outcome.iterations == FAST.iterations


def test_training_lowers_the_loss_and_is_repeatable(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    config = AdaptConfig("blocking", crop_px=128)
    first, second = (train(request_of(*clip[0], bundle, "float32", config)) for _ in range(2))
    assert first.outcome.loss_after < first.outcome.loss_before
    assert first.model == second.model
    assert first.model is not None
    assert first.model != bundle.model("float32")


def test_what_gets_worse_is_not_taken(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    config = AdaptConfig("blocking", crop_px=128, learning_rate=1.0)
    result = train(request_of(*clip[0], bundle, "int8", config))
    assert result.model is None
    assert "worse on held-back crops" in result.outcome.reason


@pytest.mark.parametrize("preset", PRESETS)
def test_the_network_is_swapped_and_nothing_jumps(
    bundle: Bundle, clip: list[tuple[Frame, Box]], preset: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    # fkcf takes the middle level only
    tracker = adaptive(bundle, replace(FAST, layers="all") if preset == "fkcf" else FAST, preset)
    tracker.init(*clip[0])
    assert tracker.adapting
    boxes = [tracker.update(frame).box for frame, _ in clip[1:10]]
    assert tracker.wait(60)
    boxes += [tracker.update(frame).box for frame, _ in clip[10:]]
    assert isinstance(tracker.last, Adapted)
    assert tracker.last.model is not None
    assert "the new network tracks from frame 10 on" in caplog.text
    for (_, before), (_, truth), box in zip(clip, clip[1:], boxes, strict=False):
        assert overlap(box, truth) > 0.5, (before, truth, box)


def test_blocking_adapts_before_the_first_frame_is_over(
    bundle: Bundle, clip: list[tuple[Frame, Box]]
) -> None:
    tracker = adaptive(bundle, AdaptConfig("blocking", iterations=2, crop_px=128))
    tracker.init(*clip[0])
    assert isinstance(tracker.last, Adapted)
    assert not tracker.adapting
    assert overlap(tracker.update(clip[1][0]).box, clip[1][1]) > 0.5


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        (crash, r"ended without a result \(exit code 3\)"),
        (refuse, "no such thing"),
        (hang, r"took more than 2 s"),
        (lambda request: request, r"pickle"),
        (stumble, r"ended without a result \(exit code 1: IndexError: nobody thought of this\)"),
    ],
)
def test_a_worker_that_fails_leaves_the_tracker_alone(
    bundle: Bundle,
    clip: list[tuple[Frame, Box]],
    worker: Worker,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = adaptive(
        bundle, AdaptConfig("background", timeout_s=2.0 if worker is hang else 50.0), worker=worker
    )
    tracker.init(*clip[0])
    assert tracker.wait(60)
    assert isinstance(tracker.last, WorkerError)
    assert overlap(tracker.update(clip[1][0]).box, clip[1][1]) > 0.5
    caplog_text = "\n".join(record.getMessage() for record in caplog.records)
    assert "the network stays as it is" in caplog_text
    with pytest.raises(WorkerError, match=message):
        raise tracker.last


def test_a_killed_worker(
    bundle: Bundle, clip: list[tuple[Frame, Box]], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = adaptive(bundle, worker=hang)
    tracker.init(*clip[0])
    while tracker.worker_pid is None:
        time.sleep(0.01)
    tracker.update(clip[1][0])
    os.kill(tracker.worker_pid, signal.SIGKILL)
    assert tracker.wait(30)
    assert overlap(tracker.update(clip[2][0]).box, clip[2][1]) > 0.5
    assert "ended without a result (exit code -9); the network stays as it is" in caplog.text


def test_a_filter_that_cannot_be_refitted(
    bundle: Bundle, clip: list[tuple[Frame, Box]], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = adaptive(bundle)
    made = tracker._make

    def fail(features: NetworkFeatures) -> CorrelationTracker:
        raise MemoryError("no room for a second filter")

    tracker.init(*clip[0])
    tracker._make = fail
    assert tracker.wait(60)
    tracker._make = made
    assert not tracker.adapting
    assert overlap(tracker.update(clip[1][0]).box, clip[1][1]) > 0.5
    assert "the new network is not used (MemoryError: no room for a second filter)" in caplog.text


@pytest.mark.parametrize(
    ("mode", "told"), [("blocking", "on held-back crops"), ("background", "given up, it was not ready")]
)
def test_on_the_command_line(bundle: Bundle, mode: str, told: str) -> None:
    source = ["--source", "fake:frames=4", "--box", ",".join(f"{v:g}" for v in FakeSource().box(0))]
    network = ["--preset", "feco", "--bundle", str(bundle.path), "--adapt", mode]
    command = [sys.executable, "-c", "from edge_runtime.cli import main; main()", "run", *source, *network]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"{told}" in done.stderr


def test_blocking_without_room_for_the_second_tracker(
    bundle: Bundle, clip: list[tuple[Frame, Box]], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = adaptive(bundle, replace(FAST, mode="blocking"))
    made, calls = tracker._make, itertools.count()

    def fail_later(features: NetworkFeatures) -> CorrelationTracker:
        if next(calls):
            raise MemoryError("no room for a second filter")
        return made(features)

    tracker._make = fail_later
    tracker.init(*clip[0])
    assert overlap(tracker.update(clip[1][0]).box, clip[1][1]) > 0.5
    assert "the new network is not used (MemoryError: no room for a second filter)" in caplog.text


def test_what_the_tracker_does_not_take_is_not_adapted(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r'middle .* do not change; set adapt.layers = "all"'):
        adaptive(bundle, FAST, "fkcf")


def test_another_target_starts_afresh(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    tracker = adaptive(bundle)
    tracker.init(*clip[0])
    tracker.update(clip[1][0])
    tracker.init(*clip[5])
    assert tracker.wait(60)
    tracker.update(clip[6][0])
    assert isinstance(tracker.last, Adapted)
    tracker.init(*clip[7])
    tracker.close()
    assert not tracker.adapting
    assert overlap(tracker.update(clip[8][0]).box, clip[8][1]) > 0.5


def test_what_the_worker_may_use(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    results: list[object] = []
    config = AdaptConfig("background", nice=7, cpu=0)
    assert BackgroundTask(request_of(*clip[0], bundle, "int8", config), results.append, surroundings).wait(60)
    (adapted,) = results
    assert isinstance(adapted, Adapted)
    assert json.loads(adapted.outcome.reason) == {
        "nice": 7,
        "cores": [0],
        "policy": os.SCHED_OTHER,
        "killed first": "1000",
        "threads": "1",
    }


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_pinned_tracker_keeps_its_core(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    cores = os.sched_getaffinity(0)
    results: list[object] = []
    try:
        os.sched_setaffinity(0, {min(cores)})
        task = BackgroundTask(request_of(*clip[0], bundle, "int8", FAST), results.append, surroundings)
    finally:
        os.sched_setaffinity(0, cores)
    assert task.wait(60)
    (adapted,) = results
    assert isinstance(adapted, Adapted)
    assert min(cores) not in json.loads(adapted.outcome.reason)["cores"]


def test_what_a_library_prints_is_no_answer(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    results: list[object] = []
    assert BackgroundTask(request_of(*clip[0], bundle, "int8", FAST), results.append, chatter).wait(60)
    assert isinstance(results[0], Adapted)


def test_a_program_without_a_guard_is_not_run_twice(bundle: Bundle, tmp_path: Path) -> None:
    """As multiprocessing would: a maker's first script opens the camera at its top level."""
    script = tmp_path / "robot.py"
    script.write_text(
        f"""
print("started")
import numpy as np
from edge_runtime.config import load_config
from edge_runtime.trackers import build_tracker
overrides = {{"tracker.preset": "feco", "model.bundle": {str(bundle.path)!r}, "adapt.mode": "background"}}
tracker = build_tracker(load_config(None, overrides))
frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
tracker.init(frame, (100, 100, 40, 40))
print(tracker.wait(100), type(tracker.last).__name__)
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["started", "True", "Adapted"], done.stderr


def test_a_bundle_without_means_is_one_clear_line(bundle: Bundle, clip: list[tuple[Frame, Box]]) -> None:
    calibration = bundle.manifest.calibration
    assert calibration is not None
    means = dict(calibration.input_means)
    calibration.input_means.clear()
    try:
        with pytest.raises(BundleError, match="export the bundle again"):
            train(request_of(*clip[0], bundle, "int8", FAST))
    finally:
        calibration.input_means.update(means)
