"""Teachers that are read from files: their maps, where their cells lie, and what is no such file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edge_runtime.errors import ConfigError, WeightsError
from export.checkpoints import random_student, save_student
from export.matconvnet import load_matconvnet
from export.student import TEACHER_CHANNELS, TEACHER_LEVELS, CfVgg
from export.teachers import googlenet, load_npz_teacher, load_teacher
from export.teachers.base import Teacher, TeacherLevel, aligned
from export.teachers.caffe import MEAN_BGR
from export.teachers.geometry import measured_levels
from export.verify import torch_features
from tests.export import matfile, teacherfiles

MEAN_RGB = np.array(MEAN_BGR[::-1])  # a mean image would not move with the picture
SIZES_PX = (65, 96, 129, 160, 200, 224, 232)


@pytest.fixture(scope="module", params=["squeezenet", "googlenet", "cf-vgg"])
def teacher(
    request: pytest.FixtureRequest,
    squeezenet_file: Path,
    googlenet_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Teacher:
    files: dict[str, Callable[[], Path]] = {
        "squeezenet": lambda: squeezenet_file,
        "googlenet": lambda: googlenet_file,
        "cf-vgg": lambda: matfile.save(
            tmp_path_factory.mktemp("mat") / "small.mat", matfile.layers(), MEAN_RGB
        ),
    }
    name: str = request.param
    return load_teacher(f"{name}={files[name]()}")


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    return 255 * torch.rand(1, 3, rows, columns, generator=torch.Generator().manual_seed(seed))


def test_teachers_are_frozen_and_stay_in_evaluation_mode(teacher: Teacher) -> None:
    holder = nn.ModuleList([teacher]).train()
    assert holder.training
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_maps_have_the_levels_that_are_declared(teacher: Teacher) -> None:
    maps = teacher(noise(97, 130))
    assert tuple(maps) == tuple(teacher.levels) == TEACHER_LEVELS
    for name, level in teacher.levels.items():
        assert maps[name].dtype == torch.float32
        assert maps[name].shape[:2] == (1, level.channels)
        assert maps[name].min() >= 0
        assert maps[name].max() > 0


def test_cells_lie_where_they_are_declared(teacher: Teacher) -> None:
    """By the pixels that a cell's gradient reaches."""
    assert measured_levels(teacher, TEACHER_LEVELS, "test") == teacher.levels


@pytest.mark.parametrize("size_px", SIZES_PX)
def test_cells_are_the_students_without_interpolation(teacher: Teacher, size_px: int) -> None:
    """Caffe's rounding gives at most one cell more; the rest is taken as it is."""
    rgb = noise(size_px, size_px + 33)
    with torch.no_grad():
        student = CfVgg()(rgb).distilled
        maps = teacher(rgb)
    found = aligned(maps, teacher, {name: tuple(m.shape[2:]) for name, m in student.items()})
    for name, mine in student.items():
        rows, columns = mine.shape[2:]
        assert found[name].shape[2:] == (rows, columns)
        assert torch.equal(found[name], maps[name][:, :, :rows, :columns])
        assert 0 <= maps[name].shape[2] - rows <= 1


def test_a_translation_by_the_high_stride_moves_the_cells(teacher: Teacher) -> None:
    picture = noise(400, 400)
    here, there = (teacher(picture[:, :, d:, d:]) for d in (0, 16))
    for name, level in teacher.levels.items():
        cells, middle = 16 // level.stride, here[name].shape[2] // 2
        near = slice(middle, middle + 2)
        moved = slice(middle - cells, middle - cells + 2)
        torch.testing.assert_close(there[name][:, :, moved, moved], here[name][:, :, near, near])


def test_half_precision_does_not_reach_the_sums_of_squares(teacher: Teacher) -> None:
    rgb = 20 * noise(97, 97)  # conv1's squares overflow float16
    whole = teacher(rgb)
    with torch.autocast("cpu", torch.float16):
        half = teacher(rgb)
    for name, maps in whole.items():
        assert half[name].dtype == torch.float32
        assert (half[name] - maps).norm() < 0.02 * maps.norm()


# SqueezeNet and GoogLeNet


def caffe_googlenet(weights: dict[str, Tensor], rgb: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """conv1, inception_3a and inception_4c as Caffe computes them, conv1 padded."""

    def conv(name: str, x: Tensor, **geometry: int) -> Tensor:
        return functional.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **geometry).relu()

    def pool(x: Tensor) -> Tensor:
        return functional.max_pool2d(x, 3, 2, ceil_mode=True)

    def normalised(x: Tensor) -> Tensor:
        return functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    def inception(x: Tensor, module: str) -> Tensor:
        name = f"inception_{module}/"
        threes = conv(name + "3x3", conv(name + "3x3_reduce", x), padding=1)
        fives = conv(name + "5x5", conv(name + "5x5_reduce", x), padding=2)
        pooled = conv(name + "pool_proj", functional.max_pool2d(x, 3, 1, 1))
        return torch.cat((conv(name + "1x1", x), threes, fives, pooled), 1)

    low = conv("conv1/7x7_s2", rgb.flip(1) - torch.tensor(MEAN_BGR)[:, None, None], stride=2, padding=3)
    x = conv("conv2/3x3", conv("conv2/3x3_reduce", normalised(pool(low))), padding=1)
    middle = inception(pool(normalised(x)), "3a")
    x = pool(inception(middle, "3b"))
    for module in ("4a", "4b", "4c"):
        x = inception(x, module)
    return low, middle, x


def test_googlenet_is_caffes_on_a_picture_padded_by_its_mean(googlenet_file: Path) -> None:
    weights = {
        name: torch.from_numpy(tensor.astype(np.float32))
        for name, tensor in teacherfiles.tensors(googlenet.layer_shapes(), np.float16).items()
    }
    rgb = noise(97, 120)
    padded = torch.tensor(MEAN_BGR[::-1])[:, None, None].repeat(1, 1, 103, 126)
    padded[:, :, 3:-3, 3:-3] = rgb
    found = load_teacher(f"googlenet={googlenet_file}")(padded)
    for mine, caffes in zip(found.values(), caffe_googlenet(weights, rgb), strict=True):
        torch.testing.assert_close(mine, caffes, rtol=1e-4, atol=1e-4 * float(caffes.max()))


@pytest.mark.parametrize("name", ["squeezenet", "googlenet"])
def test_damaged_and_other_networks_files_are_one_line(
    name: str, squeezenet_file: Path, googlenet_file: Path, tmp_path: Path
) -> None:
    own, other = (squeezenet_file, googlenet_file)[:: 1 if name == "squeezenet" else -1]
    file = tmp_path / "teacher.npz"

    def refused(what: str) -> None:
        with pytest.raises(WeightsError, match=rf"teacher\.npz: .*{what}") as caught:
            load_teacher(f"{name}={file}")
        assert "\n" not in str(caught.value)

    refused("cannot be read")
    for content in (b"", b"PK\x03\x04 truncated", own.read_bytes()[:100_000]):
        file.write_bytes(content)
        refused("cannot be read")
    np.save(tmp_path / "one.npy", np.zeros(3))
    file.write_bytes((tmp_path / "one.npy").read_bytes())
    refused("cannot be read")
    file.write_bytes(other.read_bytes())
    refused("has no tensor")
    with np.load(own) as archive:
        tensors = dict(archive)
    last = list(tensors)[-2]
    for changed, what in (
        (tensors[last][1:], "expected"),
        (tensors[last] * np.inf, "not finite"),
        (tensors[last].astype(object), "cannot be read"),
    ):
        np.savez(file, **(tensors | {last: changed}))
        refused(what)


def test_npz_files_are_told_apart(squeezenet_file: Path, googlenet_file: Path, tmp_path: Path) -> None:
    assert load_npz_teacher(squeezenet_file).name == "squeezenet"
    assert load_npz_teacher(googlenet_file).name == "googlenet"
    with pytest.raises(WeightsError, match=r"none\.npz"):
        load_npz_teacher(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("name", "file"), [("squeezenet", "squeezenet_v1.0.npz"), ("googlenet", "bvlc_googlenet_fp16.npz")]
)
def test_teachers_of_the_shared_data(name: str, file: str, shared_data: Path) -> None:
    teacher = load_npz_teacher(shared_data / "weights" / file)
    assert (teacher.name, teacher.source) == (name, file)
    for maps in teacher(noise(224, 224)).values():
        assert maps.isfinite().all()
        assert (maps.amax((0, 2, 3)) > 0).float().mean() > 0.5


# VGG-M and students


def test_a_students_mean_image_is_resized_as_on_the_device(tmp_path: Path) -> None:
    file = matfile.save(tmp_path / "net.mat", matfile.layers())
    teacher = load_teacher(f"cf-vgg={file}")
    assert (teacher.name, teacher.source) == ("cf-vgg", "net.mat")
    for rows, columns in ((65, 97), (40, 40), (65, 97)):
        bgr = np.random.default_rng(rows).integers(0, 256, (2, rows, columns, 3), np.uint8)
        low, middle, _, high = torch_features(load_matconvnet(file))(bgr)
        found = teacher(torch.from_numpy(bgr[..., ::-1].copy()).permute(0, 3, 1, 2).float())
        for mine, expected in zip(found.values(), (low, middle, high), strict=True):
            np.testing.assert_allclose(mine.permute(0, 2, 3, 1), expected, rtol=1e-4, atol=1e-4)


def test_a_distilled_student_is_a_teacher(tmp_path: Path) -> None:
    student = random_student()
    save_student(student, tmp_path / "student.safetensors")
    teacher = load_teacher(f"cf-vgg={tmp_path / 'student.safetensors'}")
    assert {name: level.channels for name, level in teacher.levels.items()} == {
        "low": 12,
        "middle": 32,
        "high": 64,
    }
    rgb = noise(80, 65)
    expected = student.model(rgb - torch.from_numpy(student.mean)[:, None, None]).distilled.values()
    for mine, other in zip(teacher(rgb).values(), expected, strict=True):
        torch.testing.assert_close(mine, other)


def test_vgg_m_has_vgg_ms_widths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = matfile.save(tmp_path / "small.mat", matfile.layers())
    with pytest.raises(WeightsError, match=r"small\.mat: is no VGG-M.*\(4, 6, 8, 8, 7\).*cf-vgg=") as caught:
        load_teacher(f"vgg-m={small}")
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(matfile, "CHANNELS", TEACHER_CHANNELS)
    teacher = load_teacher(f"vgg-m={matfile.save(tmp_path / 'large.mat', matfile.layers(), wrapped=False)}")
    assert (teacher.name, teacher.source) == ("vgg-m", "large.mat")
    assert teacher.levels == {
        "low": TeacherLevel(96, 2, 3.0),
        "middle": TeacherLevel(256, 8, 9.0),
        "high": TeacherLevel(512, 16, 17.0),
    }
    assert {name: m.shape[1] for name, m in teacher(noise(65, 65)).items()} == {
        "low": 96,
        "middle": 256,
        "high": 512,
    }


def test_the_authors_student_is_a_teacher(shared_data: Path) -> None:
    file = shared_data / "weights" / "CF_VGGM.mat"
    teacher = load_teacher(f"cf-vgg={file}")
    assert [level.channels for level in teacher.levels.values()] == [12, 32, 64]
    assert all(m.isfinite().all() and m.max() > 0 for m in teacher(noise(129, 129)).values())
    with pytest.raises(WeightsError, match="is no VGG-M"):
        load_teacher(f"vgg-m={file}")


# What users call teachers


@pytest.mark.parametrize(
    ("spec", "levels", "error", "what"),
    [
        ("squeezenet", None, ConfigError, "no network; give NAME=FILE"),
        ("squeezenet=", None, ConfigError, "no network; give NAME=FILE"),
        ("google=a.npz", None, ConfigError, "unknown name 'google'; did you mean googlenet=a.npz?"),
        ("xyz=a.npz", None, ConfigError, "unknown name 'xyz'; give NAME=FILE with a NAME of squeezenet,"),
        ("squeezenet=a.npz", "low=conv1", ConfigError, "has its own levels"),
        ("cf-vgg=a.npz", None, WeightsError, "unknown suffix; give a .mat or .safetensors file"),
        ("vgg-m=none.mat", None, WeightsError, "none.mat: does not exist"),
    ],
)
def test_what_is_no_teacher_is_one_line(
    spec: str, levels: str | None, error: type[Exception], what: str
) -> None:
    with pytest.raises(error) as caught:
        load_teacher(spec, levels)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
