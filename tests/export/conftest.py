"""Networks and converted models, made once: torch's ONNX exporter takes seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

import export.calibrate
from calibration.crops import make_crops, split
from calibration.pictures import Picture, packaged_pictures
from calibration.ranges import Range
from export.calibrate import calibrated_ranges
from export.checkpoints import Student, random_student, save_student
from export.matconvnet import load_matconvnet
from export.onnx_graph import folded, to_onnx
from export.tflite_writer import write_tflite
from tests.export import matfile, teacherfiles


@dataclass(frozen=True)
class Converted:
    """A student and what the exporter makes of it."""

    student: Student
    network: torch.nn.Module
    onnx: onnx.ModelProto
    ranges: dict[str, Range]
    float32: bytes
    int8: bytes


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pictures() -> list[Picture]:
    """The packaged pictures, decoded once for all tests."""

    def decoded(picture: Picture) -> Picture:
        image = picture.load()
        return Picture(picture.name, lambda: image)

    return [decoded(picture) for picture in packaged_pictures()]


@pytest.fixture(autouse=True)
def decoded_pictures(pictures: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.calibrate, "packaged_pictures", lambda: pictures)


@pytest.fixture(scope="session")
def calibration_crops(pictures: list[Picture]) -> NDArray[np.uint8]:
    pictures, _ = split(pictures)
    return make_crops(pictures, 40, 128, seed=0).crops


@pytest.fixture(scope="session")
def check_crops(pictures: list[Picture]) -> NDArray[np.uint8]:
    _, pictures = split(pictures)
    return make_crops(pictures, 16, 128, seed=1).crops


@pytest.fixture(scope="session")
def plain(calibration_crops: NDArray[np.uint8]) -> Converted:
    """Untrained, without normalisation, with a channel mean; one channel of conv2 is nearly dead."""
    student = random_student()
    rng = torch.Generator().manual_seed(1)
    for number in range(1, 6):
        bias = student.model.get_submodule(f"conv{number}").bias
        bias.data = 0.1 * torch.randn(bias.shape, generator=rng)
    student.model.conv2.weight.data[3] *= 1e-14
    student.model.conv2.bias.data[3] = 0.5
    return convert(student, calibration_crops)


@pytest.fixture(scope="session")
def normalised(tmp_path_factory: pytest.TempPathFactory, calibration_crops: NDArray[np.uint8]) -> Converted:
    """From a MatConvNet file, with normalisation and a mean image."""
    path = tmp_path_factory.mktemp("mat") / "net.mat"
    return convert(load_matconvnet(matfile.save(path, matfile.layers())), calibration_crops)


def convert(student: Student, crops: NDArray[np.uint8]) -> Converted:
    network = folded(student)
    model = to_onnx(network)
    ranges = calibrated_ranges(model, student, crops)
    return Converted(student, network, model, ranges, write_tflite(model), write_tflite(model, ranges))


@pytest.fixture(params=["plain", "normalised"])
def converted(request: pytest.FixtureRequest) -> Converted:
    found: Converted = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def student_file(tmp_path_factory: pytest.TempPathFactory, plain: Converted) -> Path:
    path = tmp_path_factory.mktemp("student") / "random.safetensors"
    save_student(plain.student, path)
    return path


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet 1.0's shapes with random values."""
    return teacherfiles.save_squeezenet(tmp_path_factory.mktemp("squeezenet") / "squeezenet.npz")


@pytest.fixture(scope="session")
def googlenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Caffe GoogLeNet's shapes with random values in float16."""
    return teacherfiles.save_googlenet(tmp_path_factory.mktemp("googlenet") / "googlenet.npz")
