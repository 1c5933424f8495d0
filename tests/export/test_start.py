"""What training starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_runtime.errors import ConfigError, WeightsError
from export.checkpoints import Student, random_student, save_student
from export.student import IMAGENET_MEAN_RGB, TEACHER_CHANNELS, CfVgg, LrnParams, channels_for_ratio
from export.teachers.vgg_m import CfVggTeacher
from export.training.config import StudentConfig
from export.training.start import make_student, normalise, scaled, unscaled


@pytest.fixture(scope="module")
def vgg_m() -> CfVggTeacher:
    torch.manual_seed(0)
    student = Student(CfVgg(TEACHER_CHANNELS, LrnParams()), np.full(3, 110, np.float32), "random", "none")
    return CfVggTeacher(student, "vgg-m", "random")


def picture() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 65, 81)).astype(np.float32))


@pytest.mark.parametrize("ratio", [16, 32, 64, 96])
def test_a_student_of_every_ratio_starts_at_random(ratio: int) -> None:
    model = make_student(StudentConfig(ratio=ratio), [], 0)
    assert model.channels == channels_for_ratio(ratio)
    assert model.lrn is None
    with torch.no_grad():
        maps = model(normalise(picture()))
    assert all(0.05 < float(x.std()) < 20 for x in maps)  # neither vanishing nor exploding


def test_normalisation_starts_where_it_makes_a_difference() -> None:
    """With VGG-M's own alpha it would do nothing to activations of order one."""
    model = make_student(StudentConfig(lrn=True), [], 0)
    assert model.lrn is not None
    with torch.no_grad():
        energy = model.norm1.band[0, 0, 0, 0] * torch.relu(model.conv1(normalise(picture()))).square().sum(1)
    assert float(energy.median()) > 0.1 * model.lrn.k


def test_a_pruned_student_has_filters_of_the_teacher(vgg_m: CfVggTeacher) -> None:
    """And sees pictures as the teacher does: its mean and the scale of inputs are folded in."""
    model = make_student(StudentConfig(start="pruned", ratio=64), [vgg_m], 3)
    again = make_student(StudentConfig(start="pruned", ratio=64), [vgg_m], 3)
    assert model.channels == channels_for_ratio(64)
    with torch.no_grad():
        mine = torch.relu(model.conv1(normalise(picture())))
        all_of_them = torch.relu(vgg_m.model.conv1(picture() - 110))
        for channel in mine[0]:
            nearest = (all_of_them[0] - channel).abs().amax((1, 2)).min()
            assert float(nearest) < 1e-3 * float(all_of_them.abs().max())
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_only_vgg_m_is_pruned(vgg_m: CfVggTeacher) -> None:
    small = CfVggTeacher(random_student(), "cf-vgg", "small")
    for teachers in ([], [small]):
        with pytest.raises(ConfigError, match="VGG-M"):
            make_student(StudentConfig(start="pruned"), teachers, 0)


def test_scaling_and_back_changes_nothing() -> None:
    student = random_student()
    mean = torch.tensor(IMAGENET_MEAN_RGB)[:, None, None]
    with torch.no_grad():
        maps = student.model(picture() - mean)
        inside = scaled(student.model, student.mean)
        for a, b, c in zip(
            maps, inside(normalise(picture())), unscaled(inside)(picture() - mean), strict=True
        ):
            torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(c, a, rtol=1e-4, atol=1e-4)


def test_another_networks_file_is_named(tmp_path: Path) -> None:
    save_student(random_student((3, 4, 5, 5, 5)), tmp_path / "small.safetensors")
    with pytest.raises(WeightsError, match=r"small\.safetensors.*filters"):
        make_student(StudentConfig(start=str(tmp_path / "small.safetensors")), [], 0)
    with pytest.raises(WeightsError, match=r"missing\.safetensors"):
        make_student(StudentConfig(start=str(tmp_path / "missing.safetensors")), [], 0)
