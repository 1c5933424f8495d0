"""Any torch module as a teacher: its geometry measured, its import path and level map checked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from export.student import CfVgg
from export.teachers import load_teacher
from export.teachers.base import TeacherLevel, aligned
from export.teachers.geometry import measured_levels
from export.teachers.imported import MEAN_RGB, STD_RGB, ImportedTeacher, parse_level_map

HERE = __name__
LEVELS = "low=features.0,middle=features.4,high=features.8"


class Network(nn.Module):
    """Padded, with in-place ReLUs, and a classifier that wants one input size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=2),  # cells at 2i
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # at 1 + 4i
            nn.Conv2d(8, 12, 3, stride=2, padding=1),  # at 1 + 8i
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),  # at 5 + 16i
            nn.ReLU(inplace=True),
            nn.Conv2d(12, 16, 3),  # at 21 + 16i
        )
        self.pooled = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(16 * 12 * 12, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        found: Tensor = self.pooled(x).sum() + self.classifier(x.flatten(1))
        return found


class Odd(nn.Module):
    """Submodules of which none is a level."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=7)
        self.plain = nn.Conv2d(3, 8, 3, stride=8)
        self.unused = nn.Conv2d(8, 8, 3)
        self.squeeze = nn.AdaptiveAvgPool2d(4)
        self.normalised = nn.GroupNorm(2, 8)
        self.flat = nn.Flatten()
        self.pair = Pair()
        self.silent = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        plain = self.plain(x)
        self.silent(plain.detach())
        self.squeeze(plain)
        self.normalised(plain)
        self.pair(plain)
        self.stem(x)
        flat: Tensor = self.flat(plain)
        return flat


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Excited(nn.Module):
    """Squeeze and excitation, in both of the ways in which it is written."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 5, stride=4)
        self.pooled = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * self.pooled(x).sigmoid()
        return x * x.mean((2, 3), keepdim=True).sigmoid()


class Fixed(nn.Module):
    """Takes pictures of one size."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 3, 224, 224))
        self.conv = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.conv(x + self.positions)
        return found


class Nested:
    network = Network()


def half() -> nn.Module:
    return Network().half().train()


def needs_weights(path: str) -> nn.Module:
    raise AssertionError(path)


def no_network() -> int:
    return 3


def test_geometry_is_measured() -> None:
    teacher = load_teacher(f"{HERE}:Network", LEVELS)
    assert (teacher.name, teacher.source) == (f"{HERE}:Network", f"{HERE}:Network")
    assert teacher.levels == {
        "low": TeacherLevel(8, 2, 0.0),
        "middle": TeacherLevel(12, 8, 0.5 + 0.5),
        "high": TeacherLevel(16, 16, 21.0),
    }


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.Conv2d(3, 8, 7, stride=2)], TeacherLevel(8, 2, 3.0)),
        ([nn.Conv2d(3, 8, 4, stride=4)], TeacherLevel(8, 4, 1.5)),
        ([nn.Conv2d(3, 8, 2, stride=2), nn.ReLU(), nn.MaxPool2d(2)], TeacherLevel(8, 4, 1.5)),
        ([nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(3, 8, 4, stride=3)], TeacherLevel(8, 3, 0.5)),
        ([nn.Conv2d(3, 8, 3, padding=40, dilation=8)], TeacherLevel(8, 1, -32.0)),
        ([nn.Conv2d(3, 8, (1, 5), stride=8, padding=(0, 2)), nn.Conv2d(8, 8, (5, 1), padding=(2, 0))],
         TeacherLevel(8, 8, 0.0)),
        ([nn.Conv2d(3, 8, 65, stride=16, padding=30), nn.ReLU(), nn.Conv2d(8, 8, 33, padding=16)],
         TeacherLevel(8, 16, 2.0)),
    ],
)  # fmt: skip
def test_geometry_of_layers(layers: list[nn.Module], expected: TeacherLevel) -> None:
    torch.manual_seed(0)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            layer.reset_parameters()
    network = nn.Sequential(*layers)
    (found,) = measured_levels(lambda rgb: {"low": network(rgb / 255)}, ["low"], "layers").values()
    assert found == expected


def test_excitation_by_the_whole_picture_does_not_move_a_cell() -> None:
    network = Excited()
    (found,) = measured_levels(lambda rgb: {"low": network(rgb / 255)}, ["low"], "excited").values()
    assert found == TeacherLevel(8, 4, 2.0)


def test_levels_are_submodules_outputs_on_normalised_rgb() -> None:
    """What an in-place ReLU does to them afterwards does not count; statistics are not updated."""
    teacher = load_teacher(f"{HERE}:Network", LEVELS)
    rgb = 255 * torch.rand(2, 3, 90, 107)
    network = Network().eval()
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN_RGB, STD_RGB))
    x = (rgb - mean) / std
    maps = teacher(rgb)
    assert list(maps) == ["low", "middle", "high"]
    for depth, found in zip((1, 5, 9), maps.values(), strict=True):
        torch.testing.assert_close(found, network.features[:depth](x))
        assert not found.requires_grad
    assert maps["low"].min() < 0
    assert not any(module._forward_hooks for module in teacher.modules())


def test_a_network_may_bring_its_own_mean_and_deviation() -> None:
    network = Network()
    vars(network).update(mean_rgb=[10, 20, 30], std_rgb=torch.ones(3))
    rgb = 255 * torch.rand(1, 3, 64, 64)
    found = ImportedTeacher(network, {"low": "features.0"}, "own")(rgb)["low"]
    x = rgb - torch.tensor([10.0, 20, 30])[:, None, None]
    torch.testing.assert_close(found, network.features[0](x))


@pytest.mark.parametrize(
    ("mean", "std"),
    [([1, 2, 3], None), (None, 3), ([1, 2], [1, 1]), ("a", "b"), ([1, 2, 3], [1, 0, 1])],
)
def test_odd_means_and_deviations_are_one_line(mean: object, std: object) -> None:
    network = Network()
    vars(network).update(mean_rgb=mean, std_rgb=std)
    with pytest.raises(ConfigError, match=r"net: mean_rgb is .*; set mean_rgb and std_rgb to three numbers"):
        ImportedTeacher(network, {"low": "features.0"}, "net")


def test_the_first_call_of_a_shared_submodule_counts() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2), nn.ReLU())
    network[3] = network[1]
    for name in ("1", "3"):
        assert ImportedTeacher(network, {"low": name}, "shared").levels == {"low": TeacherLevel(4, 1, 1.0)}


def test_some_levels_suffice_and_come_in_order() -> None:
    teacher = load_teacher(f"{HERE}:Network", " high = features.8 , low=features.2")
    assert list(teacher.levels) == list(teacher(torch.zeros(1, 3, 64, 64))) == ["low", "high"]


def test_classes_instances_and_factories_are_imported() -> None:
    rgb = 255 * torch.rand(1, 3, 64, 64)
    networks = [load_teacher(f"{HERE}:{name}", LEVELS) for name in ("Network", "Nested.network", "half")]
    maps = [network(rgb)["high"] for network in networks]
    assert all(m.dtype == torch.float32 for m in maps)
    assert torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps[0], maps[2], rtol=0.01, atol=0.01)
    assert not any(module.training for module in networks[2].modules())


def test_its_maps_are_sampled_at_the_students_centres() -> None:
    """Padding moves cells by one and changes those at the border; `aligned` undoes the first."""
    padded, student = CfVgg(), CfVgg()
    student.load_state_dict(padded.state_dict())
    padded.conv1.padding = (2, 2)
    teacher = ImportedTeacher(padded, {"low": "conv1"}, "padded")
    assert teacher.levels == {"low": TeacherLevel(12, 2, 1.0)}
    rgb = 255 * torch.rand(1, 3, 90, 101)
    expected = student.conv1((rgb - teacher.mean) / teacher.std)
    found = aligned(teacher(rgb), teacher, {"low": (expected.shape[2], expected.shape[3])})
    torch.testing.assert_close(found["low"], expected)


@pytest.mark.parametrize(
    ("path", "levels", "what"),
    [
        ("no_such_package:f", LEVELS, "cannot be imported (ModuleNotFoundError: No module named"),
        (f"{HERE}:Netwrk", LEVELS, f"{HERE} has no 'Netwrk'; did you mean 'Network'?"),
        (f"{HERE}:", LEVELS, f"{HERE} has no ''"),
        (f"{HERE}:needs_weights", LEVELS, "cannot be called without arguments (TypeError:"),
        (f"{HERE}:LEVELS", LEVELS, "cannot be called without arguments (TypeError:"),
        (f"{HERE}:no_network", LEVELS, "gives an object of type int, no torch.nn.Module"),
        (f"{HERE}:Network", "low=feature.0", "'feature.0' for the low level; did you mean 'features.0'?"),
        (f"{HERE}:Network", None, "needs to know which submodules are its levels; give low=SUBMODULE"),
        (f"{HERE}:Network", "", "needs to know which submodules"),
        (f"{HERE}:Network", "deep=features.0", "has an unknown level 'deep'"),
        (f"{HERE}:Network", "low=features.0,low=features.1", "has two submodules for low"),
        (f"{HERE}:Network", "low", "has no submodule for low"),
        (f"{HERE}:Network", "low=features.0,high=pooled", "no whole stride; choose a submodule whose map"),
        (f"{HERE}:Odd", "low=stem", "no whole stride"),
        (f"{HERE}:Odd", "low=unused", "Odd: unused: does not run in the network's forward pass"),
        (f"{HERE}:Odd", "low=flat", "flat: gives a tensor of shape (1, 9216), no 4-D feature map"),
        (f"{HERE}:Odd", "low=pair", "pair: gives an object of type tuple, no 4-D feature map"),
        (f"{HERE}:Odd", "low=normalised", "its cells see more than 1152 px"),
        (f"{HERE}:Odd", "low=silent", "has no gradient by the picture"),
        (f"{HERE}:Fixed", "low=conv", "fails on a picture of 192 x 384 px (RuntimeError:"),
    ],
)  # fmt: skip
def test_what_is_no_teacher_is_one_line(path: str, levels: str | None, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_teacher(path, levels)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


def test_code_that_fails_on_import_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_teacher.py").write_text("raise ValueError('two\\nlines')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be imported \(ValueError: two lines\); install it, or"):
        load_teacher("broken_teacher:f", LEVELS)
    assert "broken_teacher" not in sys.modules


def test_level_maps() -> None:
    assert parse_level_map("low=a.0, high = b", "x") == {"low": "a.0", "high": "b"}
