from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_runtime.errors import WeightsError
from export.matconvnet import load_matconvnet
from export.student import CfVgg, LrnParams
from tests.export import matfile


def test_weights_mean_and_normalisation_are_read(tmp_path: Path) -> None:
    network = matfile.layers()
    student = load_matconvnet(matfile.save(tmp_path / "net.mat", network))
    assert student.model.channels == matfile.CHANNELS
    assert student.model.lrn == LrnParams(5, 2.0, 1e-4, 0.75)
    kernel, bias = network[4]["weights"][0]
    np.testing.assert_array_equal(student.model.conv2.weight.detach(), kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(student.model.conv2.bias.detach(), bias[0])
    assert student.mean.dtype == np.float32
    np.testing.assert_allclose(student.mean, matfile.mean_image(), rtol=1e-6)
    assert "unknown" in student.licence


def test_unwrapped_file_with_fully_connected_layers_is_read(tmp_path: Path) -> None:
    """The layout of imagenet-vgg-m-2048.mat."""
    wrapped = load_matconvnet(matfile.save(tmp_path / "a.mat", matfile.layers()))
    network = matfile.layers() + [
        {"name": "pool5", "type": "pool", "method": "max", "pool": [[3, 3]], "stride": 2, "pad": 0},
        {"name": "fc6", "type": "conv", "weights": matfile.cell(np.zeros((6, 6, 7, 9)), np.zeros((1, 9)))},
        {"name": "prob", "type": "softmax"},
    ]
    student = load_matconvnet(matfile.save(tmp_path / "b.mat", network, wrapped=False))
    x = torch.randn(1, 3, 71, 71)
    for a, b in zip(student.model(x), wrapped.model(x), strict=True):
        assert torch.equal(a, b)


def test_older_layout_is_read(tmp_path: Path) -> None:
    network = matfile.layers()
    for layer in network:
        if layer["type"] == "conv":
            layer["filters"], layer["biases"] = layer.pop("weights")[0]
        elif layer["type"] == "lrn":
            layer["type"] = "normalize"
    student = load_matconvnet(matfile.save(tmp_path / "net.mat", network, mean=np.array([[[1.0, 2.0, 3.0]]])))
    assert student.model.channels == matfile.CHANNELS
    np.testing.assert_array_equal(student.mean, [1, 2, 3])


def test_network_without_normalisation_is_read(tmp_path: Path) -> None:
    assert load_matconvnet(matfile.save(tmp_path / "net.mat", matfile.layers(lrn=False))).model.lrn is None


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.mat: does not exist"):
        load_matconvnet(tmp_path / "none.mat")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_truncated_file(tmp_path: Path, share: float) -> None:
    path = matfile.save(tmp_path / "net.mat", matfile.layers())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"net\.mat: .*truncated") as caught:
        load_matconvnet(path)
    assert "\n" not in str(caught.value)


def test_other_content(tmp_path: Path) -> None:
    path = tmp_path / "text.mat"
    path.write_text("not a MATLAB file at all " * 20)
    with pytest.raises(WeightsError):
        load_matconvnet(path)


def zeros(*shape: int) -> np.ndarray:
    return matfile.cell(np.zeros(shape), np.zeros((1, shape[3])))


def change(index: int, **values: Any) -> list[matfile.Layer]:
    network = matfile.layers()
    network[index].update(values)
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            change(8, weights=matfile.cell(np.zeros((3, 3, 5, 8)), np.zeros((1, 8)))),
            "conv3: weights have shape",
        ),
        (
            change(0, weights=matfile.cell(np.zeros((5, 5, 3, 4)), np.zeros((1, 4)))),
            "conv1: weights have shape",
        ),
        (change(4, stride=[[1, 1]]), "conv2: stride"),
        (change(4, pad=[[2, 2, 2, 2]]), "conv2: pad"),
        (change(3, pad=[[1, 1, 1, 1]]), "pool1: pad"),
        (change(7, method="avg"), "pool2: pools by 'avg'"),
        (change(7, pool=[[2, 2]]), "pool2: pool"),
        (change(3, stride=1), "pool1: stride"),
        (change(2, param=[[5, 2, 1e-4, 0.5]]), "norm1: LRN exponent"),
        (change(6, param=[[3, 2, 1e-4, 0.75]]), "norm1 and norm2 differ"),
        (change(0, weights=matfile.cell(np.full((7, 7, 3, 4), np.nan), np.zeros((1, 4)))), "not finite"),
        (change(1, type="sigmoid"), "layers are"),
        (matfile.layers()[:9], "layers are"),
    ],
)
def test_wrong_geometry_names_the_layer(tmp_path: Path, network: list[matfile.Layer], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_matconvnet(matfile.save(tmp_path / "net.mat", network))


def test_wrong_mean(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="averageImage"):
        load_matconvnet(matfile.save(tmp_path / "net.mat", matfile.layers(), mean=np.zeros((4, 4))))


def test_the_authors_network(shared_data: Path) -> None:
    student = load_matconvnet(shared_data / "weights" / "CF_VGGM.mat")
    assert student.model.channels == (12, 32, 64, 64, 64)
    assert sum(parameter.numel() for parameter in student.model.parameters()) == 103_760
    assert student.mean.shape == (224, 224, 3)
    shapes = [tuple(level.shape) for level in student.model(torch.zeros(1, 3, 224, 224))]
    assert shapes == [(1, 12, 109, 109), (1, 32, 26, 26), (1, 64, 13, 13), (1, 64, 13, 13)]


def test_normalisation_is_the_formula() -> None:
    """x / (k + alpha * sum of squares over 5 channels)^0.75, alpha not divided by 5."""
    model = CfVgg((9, 4, 4, 4, 4), LrnParams(5, 2.0, 1e-4, 0.75))
    x = torch.rand(2, 9, 3, 4, dtype=torch.float32) * 300
    squares = np.pad(x.numpy().astype(np.float64) ** 2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    energy = sum(squares[:, i : i + 9] for i in range(5))
    expected = x.numpy() / (2 + 1e-4 * energy) ** 0.75
    np.testing.assert_allclose(model.norm1(x).numpy(), expected, rtol=2e-6)


def test_conv3_is_what_conv4_sees() -> None:
    model = CfVgg((3, 4, 5, 6, 7)).eval()
    x = 100 * torch.randn(1, 3, 97, 120)
    with torch.no_grad():
        levels = model(x)
        high = torch.relu(model.conv5(torch.relu(model.conv4(levels.conv3))))
    assert levels.conv3.shape[1] == 5
    assert levels.conv3.min() == 0 < levels.conv3.max()
    assert torch.equal(levels.high, high)
    assert list(levels.distilled.values()) == [levels.low, levels.middle, levels.high]


@pytest.mark.parametrize(("level", "first", "stride"), [(0, 3, 2), (1, 9, 8), (2, 17, 16), (3, 17, 16)])
def test_cells_are_centred_where_the_manifest_says(level: int, first: int, stride: int) -> None:
    """The input pixels that a cell depends on lie symmetrically around its centre."""
    model = CfVgg((2, 2, 2, 2, 2)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_().add_(0.1)
    x = torch.rand(1, 3, 260, 260, requires_grad=True)
    cell = 90 // stride
    # Max pooling hides most paths; a sharp average over many inputs uncovers them all.
    seen = torch.zeros(260, dtype=torch.bool)
    for _ in range(12):
        x.data.uniform_()
        (gradient,) = torch.autograd.grad(model(x)[level][0, :, cell, cell].sum(), x)
        seen |= gradient[0].abs().sum((0, 2)) > 0
    rows = torch.nonzero(seen).ravel()
    assert abs((int(rows[0]) + int(rows[-1])) / 2 - (first + cell * stride)) <= stride / 4
