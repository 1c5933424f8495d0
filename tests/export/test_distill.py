"""Teacher, student and the training between them, on weights and photos made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from calibration.pictures import find_pictures
from edge_runtime.errors import CalibrationError, ConfigError, WeightsError
from export.checkpoints import load_student
from export.distill import CHECKPOINT, LOG, STUDENT, Distillation, DistillConfig, normalise
from export.photos import PhotoCrops
from export.student import COMPRESSION_RATIOS, CfVgg, channels_for_ratio

CONFIG = DistillConfig(steps=6, batch=2, crop_px=65, checkpoint_every=3, warmup_steps=2, workers=0)


@pytest.fixture
def teacher(squeezenet_file: Path) -> Path:
    return squeezenet_file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(8):
        noise = np.random.default_rng(i).normal(size=(90, 120, 3))
        smooth = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)
        cv2.imwrite(str(folder / f"{i}.png"), smooth.astype(np.uint8))
    (folder / "corrupt.jpg").write_bytes(b"not a picture")
    return folder


def tensors(path: Path) -> dict[str, torch.Tensor]:
    return load_student(path).model.state_dict()


def test_channels_of_every_ratio() -> None:
    assert {r: channels_for_ratio(r)[:3] for r in COMPRESSION_RATIOS} == {
        1: (96, 256, 512),
        16: (24, 64, 128),
        32: (17, 45, 91),
        64: (12, 32, 64),
        96: (10, 26, 52),
    }
    assert sum(p.numel() for p in CfVgg().parameters()) == 103_760
    with pytest.raises(ValueError, match="48"):
        channels_for_ratio(48)


def test_training_lowers_the_loss_and_leaves_a_usable_student(
    teacher: Path, photos: Path, tmp_path: Path
) -> None:
    run = Distillation(DistillConfig(**{**vars(CONFIG), "steps": 30, "batch": 4}), teacher, photos, tmp_path)
    run.run()
    assert [row["step"] for row in run.rows] == [3.0 * i for i in range(1, 11)]
    for level in ("low", "middle", "high"):
        assert run.rows[-1][level] < run.rows[0][level]
    assert len((tmp_path / LOG).read_text().split()) == 11
    student = load_student(tmp_path / STUDENT)
    x = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 65, 65)).astype(np.float32))
    with torch.no_grad():
        trained = run.model(normalise(x))
        saved = student.model(x - torch.from_numpy(student.mean)[None, :, None, None])
    for a, b in zip(trained, saved, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_killed_run_goes_on_to_the_same_weights(
    teacher: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Distillation(CONFIG, teacher, photos, tmp_path / "whole")
    whole.run()

    class KilledError(Exception):
        pass

    checkpoint = Distillation._checkpoint

    def then_die(self: Distillation) -> None:
        checkpoint(self)
        raise KilledError

    monkeypatch.setattr(Distillation, "_checkpoint", then_die)
    with pytest.raises(KilledError):
        Distillation(CONFIG, teacher, photos, tmp_path / "halves").run()
    monkeypatch.undo()
    rest = Distillation(CONFIG, teacher, photos, tmp_path / "halves")
    assert rest.step == 3
    rest.run()
    assert rest.rows == whole.rows
    for name, tensor in tensors(tmp_path / "whole" / STUDENT).items():
        torch.testing.assert_close(tensors(tmp_path / "halves" / STUDENT)[name], tensor, rtol=0, atol=0)


def test_other_settings_do_not_go_on_from_a_checkpoint(teacher: Path, photos: Path, tmp_path: Path) -> None:
    Distillation(CONFIG, teacher, photos, tmp_path).run()
    other = DistillConfig(**{**vars(CONFIG), "seed": 1})
    with pytest.raises(ConfigError, match="seed"):
        Distillation(other, teacher, photos, tmp_path)


def test_a_damaged_checkpoint_is_one_line(teacher: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"half a checkpoint")
    with pytest.raises(WeightsError) as caught:
        Distillation(CONFIG, teacher, photos, tmp_path)
    assert "\n" not in str(caught.value)


def test_folders_without_photos_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no pictures"):
        find_pictures(tmp_path)
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(b"corrupt")
    with pytest.raises(CalibrationError, match="decoded"):
        PhotoCrops(find_pictures(tmp_path), 64, 1, seed=0)[0]


def test_crops_depend_on_seed_and_index_only(photos: Path) -> None:
    def crop(seed: int, index: int, **changes: Any) -> torch.Tensor:
        return PhotoCrops(find_pictures(photos), 64, 10, seed, **changes)[index]

    assert torch.equal(crop(0, 3), crop(0, 3))
    assert not torch.equal(crop(0, 3), crop(0, 4))
    assert not torch.equal(crop(0, 3), crop(1, 3))
    assert crop(0, 3).shape == (3, 64, 64)
    assert crop(0, 3).dtype == torch.uint8
