from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from calibration.ranges import Range, onnx_session
from calibration.report import decibels, measure
from edge_runtime.interpreter import Interpreter, dequantise
from edge_runtime.model_cut import cut
from edge_runtime.quantise import quantise_convolution
from export.onnx_graph import folded, fused, read_graph
from export.quantise import affine_for_range
from export.student import LEVELS
from export.tflite_writer import write_tflite
from export.verify import tflite_features, to_nchw, to_nhwc, torch_features
from tests.export.conftest import Converted

SIZES_PX = (33, 129, 160, 200, 224, 232)


def network_input(batch: int, size_px: int) -> NDArray[np.float32]:
    return np.random.default_rng(size_px).uniform(-120, 135, (batch, size_px, size_px, 3)).astype(np.float32)


@pytest.mark.parametrize(("batch", "size_px"), [(1, size) for size in SIZES_PX] + [(3, 129), (2, 200)])
def test_float32_and_onnx_equal_torch_at_any_size(converted: Converted, batch: int, size_px: int) -> None:
    x = network_input(batch, size_px)
    with torch.no_grad():
        expected = [to_nhwc(level.numpy()) for level in converted.network(torch.from_numpy(to_nchw(x)))]
    interpreter = Interpreter(converted.float32, x.shape)
    session = onnx_session(converted.onnx.SerializeToString())
    from_onnx = [to_nhwc(level) for level in session.run(list(LEVELS), {"image": to_nchw(x)})]
    for a, b, c in zip(expected, interpreter.invoke(x), from_onnx, strict=True):
        assert a.shape == b.shape == c.shape
        assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
        assert np.abs(a - c).max() <= 1e-5 * np.abs(a).max()


@pytest.mark.parametrize("size_px", SIZES_PX)
def test_int8_has_the_shapes_of_float32(converted: Converted, size_px: int) -> None:
    shape = (2, size_px, size_px, 3)
    assert (
        Interpreter(converted.int8, shape).output_shapes
        == Interpreter(converted.float32, shape).output_shapes
    )


def test_rectangular_input(plain: Converted) -> None:
    x = network_input(1, 200)[:, :150]
    with torch.no_grad():
        expected = [to_nhwc(level.numpy()) for level in plain.network(torch.from_numpy(to_nchw(x)))]
    for a, b in zip(expected, Interpreter(plain.float32, x.shape).invoke(x), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * float(np.abs(a).max()))


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_tensors_are_named_and_one_delegate_takes_all(converted: Converted, dtype: str) -> None:
    interpreter = Interpreter(getattr(converted, dtype), (1, 129, 129, 3))
    assert interpreter.input.name == "image"
    assert interpreter.input.dtype == dtype
    assert [(o.name, o.dtype) for o in interpreter.outputs] == [(level, dtype) for level in LEVELS]
    if interpreter.runtime == "ai_edge_litert":
        assert interpreter.delegated


def test_int8_is_accurate(converted: Converted, check_crops: NDArray[np.uint8]) -> None:
    original = torch_features(converted.student)
    reports = measure(original, tflite_features(converted.int8, converted.student), check_crops, LEVELS)
    for report, limit in zip(reports, (30, 28, 25, 24), strict=True):
        assert report.sqnr_db > limit
        assert report.cosine > 0.995


def test_int8_input_of_a_folded_network_is_the_pixel(plain: Converted) -> None:
    tensor = Interpreter(plain.int8, (1, 64, 64, 3)).input
    assert (tensor.scale, tensor.zero_point) == (1.0, -128)


def test_folding_the_mean_is_exact(plain: Converted) -> None:
    rgb = torch.rand(1, 3, 101, 101, dtype=torch.float32) * 255
    mean = torch.from_numpy(plain.student.mean)[None, :, None, None]
    with torch.no_grad():
        for a, b in zip(folded(plain.student)(rgb), plain.student.model(rgb - mean), strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_a_dead_channel_keeps_its_bias(plain: Converted, check_crops: NDArray[np.uint8]) -> None:
    """Its weights of 1e-15 would give a scale at which the bias 0.5 overflows int32."""
    x = (check_crops[:1, ..., ::-1] ^ 0x80).view(np.int8)
    interpreter = Interpreter(plain.int8, x.shape)
    middle = dequantise(interpreter.invoke(np.ascontiguousarray(x))[1], interpreter.outputs[1])
    assert np.abs(middle[..., 3] - 0.5).max() <= interpreter.outputs[1].scale


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_cut_to_some_levels_it_answers_the_same(converted: Converted, dtype: str) -> None:
    """With normalisation too, whose int8 graph branches."""
    model = getattr(converted, dtype)
    whole = Interpreter(model, (2, 129, 100, 3))
    x = np.random.default_rng(0).integers(-128, 128, whole.shape).astype(whole.input.dtype)
    expected = whole.invoke(x)
    for outputs in ((0,), (1,), (2,), (0, 3), (3, 0)):
        part = Interpreter(cut(model, outputs), whole.shape)
        assert part.delegated == whole.delegated
        for found, index in zip(part.invoke(x), outputs, strict=True):
            np.testing.assert_array_equal(found, expected[index])


def test_a_cut_graph_has_no_operator_too_many(plain: Converted) -> None:
    def operators(model: bytes) -> list[int]:
        graph = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
        made = [int(operator.outputs[0]) for operator in graph.operators]
        assert set(graph.outputs) <= set(made)
        return made

    whole = operators(plain.float32)
    assert len(whole) == 10  # conv1, pad, pool, pad, conv2, pad, pool, conv3, conv4, conv5
    for output, count in enumerate((1, 5, 8, 10)):
        assert operators(cut(plain.float32, (output,))) == whole[:count]
    assert operators(cut(plain.float32, (0, 2))) == whole[:8]


def test_sizes_of_the_files(plain: Converted) -> None:
    parameters = sum(parameter.numel() for parameter in plain.network.parameters())
    assert 4 * parameters < len(plain.float32) < 4 * parameters + 8_000
    assert parameters < len(plain.int8) < parameters + 14_000


def test_fusing_leaves_only_what_tflite_has(normalised: Converted) -> None:
    ops = [node.op for node in fused(read_graph(normalised.onnx)).nodes]
    norm = ["Mul", "Conv", "Rsqrt", "Sqrt", "Mul", "Mul", "Pad", "MaxPool"]
    assert ops == ["Conv", *norm, "Conv", *norm, "Conv", "Conv", "Conv"]


def model_of(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    info = onnx.helper.make_tensor_value_info
    shape = ["n", 3, "rows", "columns"]
    weights = [
        onnx.numpy_helper.from_array(np.ones((3, 1, 3, 3), np.float32), "weight"),
        onnx.numpy_helper.from_array(np.zeros(3, np.float32), "bias"),
        onnx.numpy_helper.from_array(np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64), "pads"),
    ]
    inputs, outputs = [info("image", 1, shape)], [info(nodes[-1].output[0], 1, shape)]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", inputs, outputs, weights))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (onnx.helper.make_node("Sigmoid", ["image"], ["low"]), "operator Sigmoid"),
        (onnx.helper.make_node("Relu", ["image"], ["low"]), "operator Relu"),
        (
            onnx.helper.make_node(
                "Conv", ["image", "weight", "bias"], ["low"], group=3, pads=[0] * 4, strides=[1, 1]
            ),
            "group = 3",
        ),
        (onnx.helper.make_node("Pad", ["image", "pads"], ["low"]), "only rows and columns"),
        (onnx.helper.make_node("Mul", ["image", "bias"], ["low"]), "one shape"),
        (
            onnx.helper.make_node(
                "MaxPool", ["image"], ["low"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1
            ),
            "ceil_mode = 1",
        ),
    ],
)
def test_what_is_not_supported_is_refused(node: onnx.NodeProto, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_tflite(model_of(node))


REALS = st.floats(-1e6, 1e6, width=32)


@given(REALS, REALS)
def test_affine_covers_its_range_and_has_zero(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    affine = affine_for_range(Range(low, high, np.zeros(1)))
    assert affine.scale > 0
    assert -128 <= affine.zero_point <= 127
    assert (-128 - affine.zero_point) * affine.scale <= low + 0.51 * affine.scale
    assert (127 - affine.zero_point) * affine.scale >= high - 0.51 * affine.scale


@given(
    arrays(np.float32, (4, 3, 3, 2), elements=st.floats(-2, 2, width=32)),
    arrays(np.float32, 4, elements=st.floats(-100, 100, width=32)),
    st.floats(1e-3, 10),
)
def test_weights_are_within_half_a_step_and_biases_within_int32(
    weight: NDArray[np.float32], bias: NDArray[np.float32], input_scale: float
) -> None:
    stored, stored_bias, scales = quantise_convolution(weight, bias, input_scale, 0.1, np.zeros(2))
    error = np.abs(stored * scales[:, None, None, None] - weight)
    assert (error <= scales[:, None, None, None] * 0.5001).all()
    assert np.abs(stored_bias.astype(np.float64)).max() <= 2**30 * 1.001
    np.testing.assert_allclose(
        stored_bias * scales.astype(np.float64) * input_scale, bias, atol=float(scales.max()) * input_scale
    )


def test_bias_correction_keeps_the_mean_output() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 7, 7, 3)).astype(np.float32)
    bias, means = rng.normal(size=8).astype(np.float32), np.array([120.0, 110.0, 100.0])
    stored, stored_bias, scales = quantise_convolution(weight, bias, 1.0, 0.1, means)
    original = (weight.sum((1, 2)) * means).sum(1) + bias
    quantised = ((stored.sum((1, 2), dtype=np.int64) * means).sum(1) + stored_bias) * scales
    assert np.abs(quantised - original).max() <= scales.max()


def test_decibels_of_a_known_ratio() -> None:
    assert decibels(100.0, 1.0) == pytest.approx(20.0)
    assert decibels(1.0, 0.0) == 200.0
