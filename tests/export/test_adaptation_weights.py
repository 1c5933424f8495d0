"""Weights that go back into a model: the same as an export of them."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from calibration.pictures import packaged_pictures
from edge_runtime.adaptation.model import AdaptableNetwork
from edge_runtime.adaptation.settings import AdaptedLayers
from edge_runtime.bundle import Bundle
from edge_runtime.errors import BundleError
from edge_runtime.features import NetworkFeatures
from edge_runtime.model_weights import read_weights, with_weights
from export.bundle import export_bundle
from export.calibrate import ExportSettings, calibrated_ranges, crop_sets
from export.checkpoints import Student, random_student
from export.onnx_graph import folded, to_onnx
from export.student import CfVgg, LrnParams
from export.tflite_writer import write_tflite

SETTINGS = ExportSettings(int8=True, crops=10, checks=4, sizes_px=(129,))


@pytest.fixture(scope="module")
def student() -> Student:
    """With normalisation, as the shipped one; `tests/tracker` adapts one without."""
    plain = random_student()
    model = CfVgg(lrn=LrnParams(alpha=1e-3)).eval()
    model.load_state_dict(plain.model.state_dict())
    return replace(plain, model=model)


@pytest.fixture(scope="module")
def bundle(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("adapt") / "random"
    export_bundle(student, "random", path, SETTINGS)
    return Bundle.open(path)


def changed(student: Student, names: tuple[str, ...]) -> Student:
    """Another student, some of whose layers differ."""
    other = copy.deepcopy(student)
    torch.manual_seed(5)
    for name in names:
        layer = getattr(other.model, name)
        for parameter in layer.parameters():
            parameter.data += 0.1 * parameter.data.std() * torch.randn_like(parameter)
    return other


def test_a_patched_model_is_a_reexported_one(student: Student, bundle: Bundle) -> None:
    calibration = bundle.manifest.calibration
    assert calibration is not None
    means = {name: np.array(row) for name, row in calibration.input_means.items()}
    # The ranges of the original, as on a device, where nothing is calibrated.
    ranges = calibrated_ranges(to_onnx(folded(student)), student, crop_sets(SETTINGS).calibration.crops)
    for names in (("conv5",), ("conv1", "conv2", "conv3", "conv4", "conv5")):
        exported = to_onnx(folded(changed(student, names)))
        weights = read_weights(write_tflite(exported))
        for dtype, of_values in (("float32", None), ("int8", ranges)):
            patched = with_weights(bundle.model(dtype), {name: weights[name] for name in names}, means)
            assert patched == write_tflite(exported, of_values), dtype
            assert patched != bundle.model(dtype)


def test_weights_are_read_as_they_were_written(student: Student, bundle: Bundle) -> None:
    for name, weights in read_weights(bundle.model("float32")).items():
        layer = getattr(folded(student), name)
        np.testing.assert_array_equal(weights.weight, layer.weight.detach().numpy().transpose(0, 2, 3, 1))
    rounded, exact = (read_weights(bundle.model(dtype)) for dtype in ("int8", "float32"))
    for name, weights in exact.items():
        step = np.abs(weights.weight).max((1, 2, 3)) / 127
        error = np.abs(rounded[name].weight - weights.weight).max((1, 2, 3))
        assert (error <= 0.51 * step).all()


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("layers", ["conv5", "conv3-conv5", "all"])
def test_the_changing_part_computes_what_the_model_does(
    bundle: Bundle, layers: AdaptedLayers, dtype: str
) -> None:
    network = AdaptableNetwork(bundle, dtype, layers, ("low", "middle", "conv3", "high"))
    picture = packaged_pictures()[0].load()
    assert picture is not None
    patches = np.stack([picture[:160, :160], picture[-160:, -160:]])
    maps, _ = network.part().forward(network.before(patches))
    expected = NetworkFeatures(bundle, dtype).extract(patches, tuple(maps))
    for (level, ours), theirs in zip(maps.items(), expected, strict=True):
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error < (1e-5 if dtype == "float32" else 0.1), level
    patched = network.patched(network.part().weights)
    again = NetworkFeatures(bundle, dtype, patched).extract(patches, ("high",))[0]
    np.testing.assert_allclose(again, expected[-1], rtol=1e-3, atol=1e-3 * float(expected[-1].max()))


def test_what_cannot_be_patched(bundle: Bundle) -> None:
    model = bundle.model("int8")
    weights = read_weights(model)
    with pytest.raises(BundleError, match="means"):
        with_weights(model, {"conv5": weights["conv5"]}, {})
    with pytest.raises(BundleError, match="no convolution 'conv9'"):
        with_weights(model, {"conv9": weights["conv5"]}, {})
    with pytest.raises(BundleError, match="no convolution 'conv1' of shape"):
        with_weights(model, {"conv1": weights["conv5"]}, {})
    for broken in (b"", b"TFL3" * 3, model[:2000]):
        with pytest.raises(BundleError, match="damaged"):
            read_weights(broken)
