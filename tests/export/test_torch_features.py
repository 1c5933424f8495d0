"""torch as a feature extractor, against bundles and against the networks themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_runtime.bundle import Bundle
from edge_runtime.errors import ConfigError, InterpreterError
from edge_runtime.features import FeatureExtractor, NetworkFeatures
from export.calibrate import ExportSettings
from export.checkpoints import random_student
from export.student import LEVELS, TEACHER_LEVELS
from export.teachers import load_npz_teacher
from export.torch_features import TorchFeatures
from export.verify import to_nchw
from tests.export.conftest import Converted
from tests.export.test_bundle import make

SHAPES = [(1, 33, 33), (2, 129, 129), (3, 97, 160), (1, 208, 208), (1, 240, 240)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundles(
    tmp_path_factory: pytest.TempPathFactory, plain: Converted, normalised: Converted
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    settings = ExportSettings(int8=False, sizes_px=(65,), checks=2)
    made = {"plain": plain, "normalised": normalised}
    return {name: Bundle.open(make(converted, folder / name, settings)) for name, converted in made.items()}


@pytest.mark.parametrize("name", ["plain", "normalised"])
def test_a_student_equals_its_float32_bundle(
    name: str, bundles: dict[str, Bundle], request: pytest.FixtureRequest
) -> None:
    """A channel mean and a mean image, without and with normalisation."""
    student = request.getfixturevalue(name).student
    extractor, device = TorchFeatures.of_student(student), NetworkFeatures(bundles[name], "float32")
    for level in LEVELS:
        assert extractor.level(level) == device.level(level)
    for shape in SHAPES:
        patches = noise(*shape)
        for level, a, b in zip(
            LEVELS, extractor.extract(patches, LEVELS), device.extract(patches, LEVELS), strict=True
        ):
            assert a.shape == b.shape
            assert a.dtype == np.float32
            assert a.flags.c_contiguous
            assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()
            assert a.shape[1:3] == (extractor.cells(level, shape[1]), extractor.cells(level, shape[2]))
    for level in LEVELS:
        for size_px in range(0, 300):
            assert extractor.cells(level, size_px) == device.cells(level, size_px)


def test_levels_come_in_the_order_asked() -> None:
    extractor: FeatureExtractor = TorchFeatures.of_student(random_student())
    patches = noise(2, 64, 80)
    high, low = extractor.extract(patches, ("high", "low"))
    np.testing.assert_array_equal(high, *extractor.extract(patches, ("high",)))
    assert (low.shape[3], high.shape[3]) == (12, 64)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", ["squeezenet", "googlenet"])
def test_a_teacher_is_seen_on_the_students_cells(name: str, request: pytest.FixtureRequest) -> None:
    teacher = load_npz_teacher(request.getfixturevalue(f"{name}_file"))
    extractor: FeatureExtractor = TorchFeatures.of_teacher(teacher)
    student = TorchFeatures.of_student(random_student())
    rounded_up = 0
    for size_px in (65, 129, 200, 208, 224, 230):
        patches = noise(2, size_px, size_px + 16)
        maps = extractor.extract(patches, TEACHER_LEVELS)
        rgb = torch.from_numpy(to_nchw(patches[..., ::-1].astype(np.float32)))
        whole = teacher(rgb).values()
        for level, found, mine, all_cells in zip(
            TEACHER_LEVELS, maps, student.extract(patches, TEACHER_LEVELS), whole, strict=True
        ):
            assert found.shape[:3] == mine.shape[:3]
            rows, columns = found.shape[1:3]
            assert (extractor.cells(level, size_px), extractor.cells(level, size_px + 16)) == (rows, columns)
            rounded_up += all_cells.shape[2] > rows
            np.testing.assert_array_equal(found, all_cells[:, :, :rows, :columns].permute(0, 2, 3, 1).numpy())
            info, other = extractor.level(level), student.level(level)
            assert (info.stride, info.first_centre_px) == (other.stride, other.first_centre_px)
            assert info.channels == found.shape[3]
    assert rounded_up > 0
    with pytest.raises(ConfigError, match="'conv3'; use one of low, middle, high"):
        extractor.extract(noise(1, 64, 64), ("conv3",))


def test_patches_that_are_no_input_are_one_line() -> None:
    extractor = TorchFeatures.of_student(random_student())
    for shape in ((0, 64, 64), (1, 20, 64)):
        with pytest.raises(InterpreterError, match="at least one of 33 px"):
            extractor.extract(noise(*shape), ("low",))
