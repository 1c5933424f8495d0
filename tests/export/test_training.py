"""The training run: it learns, goes on after being killed, and is the same in one process and in two."""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge_runtime.errors import ConfigError, StorageError, WeightsError
from edge_runtime.settings_file import to_toml
from export.checkpoints import load_student, random_student, save_student
from export.pairs.clips import Clip, read_clips
from export.training.checkpoint import CHECKPOINT, LOG, STUDENT, Row
from export.training.config import DistillConfig
from export.training.curves import CURVES, SHEET
from export.training.data import open_data
from export.training.processes import Processes
from export.training.start import normalise, scaled
from export.training.trainer import Distillation, rate_share
from export.training.validation import validation_auc
from tests.export.training_data import CHANNELS, config, picture, write_data

ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    write_data(root)
    return root


def train(settings: DistillConfig, folder: Path) -> Distillation:
    run = Distillation(settings, folder, ALONE)
    run.run()
    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_student(folder / STUDENT).model.state_dict()


def assert_same(one: Path, other: Path, tolerance: float = 0.0) -> None:
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(other)[name], tensor, rtol=tolerance, atol=tolerance)


def curve(folder: Path) -> list[dict[str, str]]:
    """The log without what depends on the clock."""
    clock = {"seconds", "images_a_second"}
    rows = csv.DictReader((folder / LOG).read_text().splitlines())
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


def losses(row: Row) -> Row:
    return {name: value for name, value in row.items() if " located " not in name}


@pytest.mark.parametrize(
    "terms", [["fidelity"], ["tracking"], ["location"], ["background"], ["fidelity", "tracking"]]
)
def test_every_loss_falls_on_other_pairs(data: Path, tmp_path: Path, terms: list[str]) -> None:
    changes: dict[str, Any] = {
        "loss__terms": terms,
        "loss__levels": ["low", "middle", "conv3", "high"],
        "pairs__negatives": 1,
        "optimiser__average": 0.0,
        "run__steps": 40,
        "run__batch": 4,
        "run__checkpoint_every": 20,
    }
    settings = config(data, **changes)
    run = Distillation(settings, tmp_path, ALONE)
    before = losses(run.validation_losses())
    run.run()
    assert {name.split()[1] for name in before} == set(terms)
    assert ("validation tracking conv3" in before) == ("tracking" in terms)
    after = run.validation_losses()
    # Knowing nothing costs 1 in the location loss, and forty steps teach little.
    share = 0.98 if terms == ["location"] else 0.95
    assert sum(losses(after).values()) < share * sum(before.values())
    found = {name: share for name, share in after.items() if name not in losses(after)}
    assert found.keys() == {f"validation located {level}" for level in settings.loss.levels}
    assert all(0 <= share <= 1 for share in found.values())
    assert [row["step"] for row in curve(tmp_path)] == ["20", "40"]


def test_the_kept_student_gives_the_maps_of_the_trained_one(data: Path, tmp_path: Path) -> None:
    run = train(config(data), tmp_path)
    student = load_student(tmp_path / STUDENT)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 65, 65)).astype(np.float32))
    with torch.no_grad():
        trained = run.average.module(normalise(x))
        saved = student.model(x - torch.from_numpy(student.mean)[None, :, None, None])
        again = scaled(student.model, student.mean)(normalise(x))
    for a, b, c in zip(trained, saved, again, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(c, a, rtol=1e-4, atol=1e-4)
    assert student.provenance["config"]["run"]["steps"] == 6
    assert student.provenance["data"]["corrupt files"] == 1
    assert student.provenance["data"]["videos held out"] == 1


def test_a_run_that_is_killed_goes_on_to_the_same_curve_and_weights(data: Path, tmp_path: Path) -> None:
    """SIGKILL after the first checkpoint, in a process of its own, by the command line."""
    settings = config(data, run__steps=30, run__checkpoint_every=5)
    train(settings, tmp_path / "whole")
    (tmp_path / "run.toml").write_text(to_toml(settings))
    command = [sys.executable, "-m", "export", "distill", "--config", str(tmp_path / "run.toml"),
               "--out", str(tmp_path / "halves")]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        while not (tmp_path / "halves" / CHECKPOINT).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    killed_at = Distillation(settings, tmp_path / "halves", ALONE).step
    assert 5 <= killed_at < 30
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "student:" in done.stdout
    assert curve(tmp_path / "halves") == curve(tmp_path / "whole")
    assert_same(tmp_path / "halves", tmp_path / "whole")


def test_two_processes_train_what_one_does(data: Path, tmp_path: Path) -> None:
    settings = config(data, run__batch=4)
    train(settings, tmp_path / "one")
    (tmp_path / "run.toml").write_text(to_toml(settings))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "export", "distill", "--config", str(tmp_path / "run.toml"),
               "--out", str(tmp_path / "two")]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, capture_output=True, check=True, timeout=300)
    assert_same(tmp_path / "two", tmp_path / "one", 1e-4)
    for one, two in zip(curve(tmp_path / "one"), curve(tmp_path / "two"), strict=True):
        expected = pytest.approx({name: float(value) for name, value in one.items()}, abs=2e-3)
        assert {name: float(value) for name, value in two.items()} == expected


def test_one_held_out_video_validates_harder_pairs_too(data: Path) -> None:
    settings = config(data, data__photos="", pairs__hard=0.5, data__held_out=0.25)
    opened = open_data(settings, progress=False)
    assert opened.counts["videos held out"] == 1
    assert (opened.trained.settings.hard, opened.validated.settings.hard) == (0.5, 0.0)
    assert opened.validated[0].template.shape == opened.trained[0].template.shape


def test_a_batch_must_divide_among_the_processes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="divided among 2"):
        Distillation(config(data, run__batch=3), tmp_path, Processes(0, 2, torch.device("cpu")))


def test_features_from_the_cache_train_the_same(data: Path, tmp_path: Path) -> None:
    """But for half precision; and a cache that was interrupted is completed, one that is there is reused."""
    plain = config(data, run__steps=3, run__batch=4)
    train(plain, tmp_path / "plain")
    cached = config(data, run__steps=3, run__batch=4, run__cache=str(tmp_path / "cache"), run__cache_pairs=12)
    run = Distillation(cached, tmp_path / "cached", ALONE)
    order = [pair for pair, _ in run.feed.training(0)]
    assert len(order) == 3
    run.run()
    (folder,) = (tmp_path / "cache").iterdir()
    assert json.loads((folder / "done.json").read_text()) == {"pairs": 12}
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    train(cached, tmp_path / "again")
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert_same(tmp_path / "again", tmp_path / "cached")
    (folder / "done.json").write_text('{"pairs": 5}')
    train(cached, tmp_path / "completed")
    assert_same(tmp_path / "completed", tmp_path / "cached")


def test_another_teacher_under_the_same_name_gets_a_cache_of_its_own(data: Path, tmp_path: Path) -> None:
    for seed in (1, 2):
        save_student(random_student(CHANNELS, seed=seed), tmp_path / "teacher.safetensors")
        networks = [f"cf-vgg={tmp_path / 'teacher.safetensors'}"]
        cache = str(tmp_path / "cache")
        Distillation(
            config(data, teacher__networks=networks, run__cache=cache, run__cache_pairs=4),
            tmp_path / "run",
            ALONE,
        )
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_full_disk_stops_the_cache_with_one_line(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="No space left"):
        Distillation(config(data, run__cache=str(tmp_path / "cache")), tmp_path, ALONE)


def test_trackers_validate_on_held_out_videos(data: Path, tmp_path: Path) -> None:
    run = train(config(data, run__validation_presets=["fkcf:low"], pairs__crop_px=97), tmp_path)
    assert len(run.data.held_out) == 1
    assert 0.5 < float(curve(tmp_path)[-1]["AUC fkcf:low"]) <= 1.0
    assert curve(tmp_path)[0]["AUC fkcf:low"] == ""
    for name in (CURVES, SHEET):
        assert cv2.imread(str(tmp_path / name)).std() > 10


def test_videos_of_crops_are_not_tracked_for_validation(data: Path) -> None:
    """Their frames have several sizes, and a tracker refuses that."""
    clip = read_clips(data / "videos")[0]
    pictures = [data / f"{rows}.png" for rows in (90, 91)]
    for path, rows in zip(pictures, (90, 91), strict=True):
        cv2.imwrite(str(path), picture(0, rows))
    crops = Clip("crops", tuple(pictures), clip.boxes[:2])
    student = random_student(CHANNELS)
    assert validation_auc(student, [crops], ["fkcf:low"]) == {}
    both = validation_auc(student, [crops, clip], ["fkcf:low"])
    assert both == validation_auc(student, [clip], ["fkcf:low"])


def test_other_settings_do_not_go_on_from_a_checkpoint(data: Path, tmp_path: Path) -> None:
    train(config(data), tmp_path)
    with pytest.raises(ConfigError, match=r"another run\.seed"):
        Distillation(config(data, run__seed=1), tmp_path, ALONE)


def test_a_damaged_checkpoint_is_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"half a checkpoint")
    with pytest.raises(WeightsError) as caught:
        Distillation(config(data), tmp_path, ALONE)
    assert "\n" not in str(caught.value)


def test_a_student_goes_on_from_another(data: Path, tmp_path: Path) -> None:
    train(config(data), tmp_path / "first")
    start = str(tmp_path / "first" / STUDENT)
    run = Distillation(config(data, student__start=start), tmp_path / "second", ALONE)
    x = torch.zeros(1, 3, 65, 65)
    with torch.no_grad():
        mean = torch.tensor([123.0, 117.0, 104.0])[None, :, None, None]
        expected = load_student(Path(start)).model(x - mean)
        for a, b in zip(run.objective.model(normalise(x)), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    with pytest.raises(WeightsError, match="filters"):
        Distillation(config(data, student__start=start, student__channels=[]), tmp_path / "third", ALONE)


def test_the_learning_rate_rises_and_falls(data: Path) -> None:
    for schedule in ("cosine", "exponential"):
        settings = config(data, run__steps=100, optimiser__warmup_steps=10, optimiser__schedule=schedule)
        shares = [rate_share(settings, step) for step in range(100)]
        assert shares[0] == pytest.approx(0.1, rel=0.1)
        assert max(shares) > 0.4
        assert shares[-1] < 0.002
        assert all(a >= b for a, b in itertools.pairwise(shares[10:]))
