"""What a device opens, and everything that it refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.bundle import Bundle
from edge_runtime.config import load_config
from edge_runtime.errors import BundleError, ConfigError, InterpreterError
from edge_runtime.features import NetworkFeatures
from edge_runtime.interpreter import Interpreter, dequantise
from edge_runtime.manifest import CHECKSUM_FILE, MANIFEST_FILE, MEAN_FILE
from edge_runtime.model_cut import cut
from edge_runtime.trackers import make_tracker
from edge_runtime.types import Box
from tests.tracker.pixels import scene


@pytest.fixture
def copy(bundle_path: Path, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(bundle_path, tmp_path / "bundle"))


def seal(bundle: Path) -> None:
    """Make the checksums right again, as someone who edits a bundle by hand would."""
    names = [line.split("  ")[1] for line in (bundle / CHECKSUM_FILE).read_text().splitlines()]
    lines = [f"{hashlib.sha256((bundle / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (bundle / CHECKSUM_FILE).write_text("".join(lines))


def edit_manifest(bundle: Path, change: Any) -> None:
    data = json.loads((bundle / MANIFEST_FILE).read_text())
    change(data)
    (bundle / MANIFEST_FILE).write_text(json.dumps(data))
    seal(bundle)


def npy(descr: str = "<f4", shape: str = "(4, 5, 3)") -> bytes:
    """A file of NumPy's that says it holds this, and holds 4 x 5 x 3 zeros of four bytes."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(240)


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_opens_and_tells_its_levels(bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    assert [level.name for level in bundle.manifest.levels] == ["low", "middle", "conv3", "high"]
    assert bundle.level("middle").stride == 8
    assert bundle.level("conv3").stride == bundle.level("high").stride == 16
    assert bundle.level("conv3").first_centre_px == 17.0
    assert set(bundle.models) == {"float32", "int8"}
    with pytest.raises(ConfigError, match="low, middle, conv3, high"):
        bundle.level("medium")


def test_one_flipped_byte_in_any_file_is_refused(copy: Path) -> None:
    for name in [line.split("  ")[1] for line in (copy / CHECKSUM_FILE).read_text().splitlines()]:
        good = (copy / name).read_bytes()
        spoiled = bytearray(good)
        spoiled[len(good) // 2] ^= 1
        (copy / name).write_bytes(spoiled)
        assert name in refusal(copy)
        (copy / name).write_bytes(good)
    Bundle.open(copy)


def test_missing_files_are_named(copy: Path, tmp_path: Path) -> None:
    assert "not a bundle folder" in refusal(tmp_path / "nothing")
    (copy / "int8.tflite").unlink()
    assert "int8.tflite" in refusal(copy)
    (copy / CHECKSUM_FILE).unlink()
    assert CHECKSUM_FILE in refusal(copy)


def test_a_model_that_is_no_model_is_refused(copy: Path) -> None:
    (copy / "int8.tflite").write_bytes(b"TFL3 but not really" * 10)
    edit_manifest(copy, lambda m: None)
    assert "refuses the model" in refusal(copy)


def test_swapped_models_are_refused(copy: Path) -> None:
    def swap(manifest: Any) -> None:
        models = manifest["models"]
        models["int8"], models["float32"] = models["float32"], models["int8"]
        models["int8"]["file"], models["float32"]["file"] = "int8.tflite", "float32.tflite"

    edit_manifest(copy, swap)
    assert "tflite" in refusal(copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["models"]["int8"]["input"].update(scale=0.5), "tensor"),
        (lambda m: m["models"]["int8"]["outputs"][1].update(zero_point=3), "tensor"),
        (lambda m: m["models"]["float32"]["outputs"].pop(), "outputs"),
        (lambda m: m["levels"][1].update(stride=4), "level middle"),
        (lambda m: m["levels"][2].update(channels=12), "level conv3"),
        (lambda m: m["levels"][3].update(channels=12), "level high"),
        (lambda m: m["levels"].pop(2), "is not one of 3 levels"),
        (lambda m: m["preprocessing"].update(mean="image"), "mean_image.npy"),
        (lambda m: m["models"]["int8"]["fingerprint"]["mean_abs"][0].__setitem__(0, 9.0), "test pattern"),
        (lambda m: m.update(format="cfvgg-bundle/9"), "cfvgg-bundle/9"),
        (lambda m: m.update(colour="BGR"), "colour"),
        (lambda m: m.pop("levels"), "levels"),
        (lambda m: m["models"].update(int16=m["models"].pop("int8")), "none of float32, int8"),
        (
            lambda m: m["models"]["int8"]["fingerprint"].update(size_px=10**6),
            "size_px = 1000000 is not 33 to",
        ),
        (lambda m: m["models"]["int8"]["fingerprint"].update(size_px=0), "size_px = 0 is not"),
        (lambda m: m["models"]["int8"]["fingerprint"]["mean_abs"][1].pop(), "without its 8 values"),
        (lambda m: m["models"]["int8"]["fingerprint"]["mean_abs"].pop(), "is not one of 4 levels"),
        (lambda m: m["levels"][0].update(stride=0), "has stride 0"),
        (lambda m: m["levels"][0].update(first_centre_px=10**400), "is too large for a number"),
    ],
)
def test_a_manifest_that_does_not_fit_the_files_is_refused(copy: Path, change: Any, words: str) -> None:
    edit_manifest(copy, change)
    assert words in refusal(copy)


def test_a_bundle_of_three_levels_still_opens_and_runs(copy: Path, bundle_path: Path) -> None:
    """As exporters before the level conv3 wrote them; format cfvgg-bundle/1 takes any number of levels."""
    keep = (0, 1, 3)

    def without_conv3(manifest: Any) -> None:
        manifest["levels"] = [manifest["levels"][i] for i in keep]
        for info in manifest["models"].values():
            model = cut((copy / info["file"]).read_bytes(), keep)
            (copy / info["file"]).write_bytes(model)
            info["sha256"] = hashlib.sha256(model).hexdigest()
            info["outputs"] = [info["outputs"][i] for i in keep]
            info["fingerprint"]["mean_abs"] = [info["fingerprint"]["mean_abs"][i] for i in keep]

    edit_manifest(copy, without_conv3)
    old, new = (NetworkFeatures(Bundle.open(path), "int8") for path in (copy, bundle_path))
    patches = scene(120, 160)[None, 20:180, 60:220]
    for a, b in zip(*(f.extract(patches, ("low", "middle", "high")) for f in (old, new)), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ConfigError, match="no feature level 'conv3'; use one of low, middle, high"):
        old.extract(patches, ("conv3",))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"PK\x03\x04", b"\x93NUMPY\x09\x00", b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4',("),
        *(npy(shape="(4, 5)"), npy(shape="(0, 5, 3)"), npy(shape="(4, 5, 30)"), npy(shape="(4, 5, 3")),
        *(npy(descr="|O"), npy(descr="<f8"), npy(shape="(1000000000, 1000000, 3)")),
    ],
    ids=range(11),
)
def test_a_damaged_mean_image_is_refused(copy: Path, content: bytes) -> None:
    def with_image(manifest: Any) -> None:
        manifest["preprocessing"]["mean"] = "image"
        (copy / MEAN_FILE).write_bytes(content)
        with (copy / CHECKSUM_FILE).open("a") as sums:
            sums.write(f"{'0' * 64}  {MEAN_FILE}\n")

    edit_manifest(copy, with_image)
    assert MEAN_FILE in refusal(copy)


def test_a_manifest_that_is_nested_without_end_is_refused(copy: Path) -> None:
    (copy / MANIFEST_FILE).write_text("[" * 5000)
    seal(copy)
    assert "is not JSON" in refusal(copy)


def test_a_model_with_a_name_that_is_no_text_is_refused(copy: Path) -> None:
    model = (copy / "int8.tflite").read_bytes()
    name = json.loads((copy / MANIFEST_FILE).read_text())["models"]["int8"]["outputs"][0]["name"].encode()
    (copy / "int8.tflite").write_bytes(model.replace(name, b"\xff" + name[1:]))
    seal(copy)
    assert "refuses the model" in refusal(copy)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_checksum_file_with_an_impossible_name_is_refused(copy: Path, name: str) -> None:
    with (copy / CHECKSUM_FILE).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    assert "cannot be read" in refusal(copy)
    assert "not a bundle folder" in refusal(copy / name)


def test_checksum_file_cannot_point_outside(copy: Path) -> None:
    with (copy / CHECKSUM_FILE).open("a") as file:
        file.write(f"{'0' * 64}  ../secret\n")
    assert "bad line" in refusal(copy)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_interpreters_run_any_batch_and_size(bundle_path: Path, dtype: str) -> None:
    bundle = Bundle.open(bundle_path)
    features = NetworkFeatures(bundle, dtype)
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (2, 129, 129, 3), dtype=np.uint8)
    for level, cells in (("low", 62), ("middle", 15), ("conv3", 7), ("high", 7)):
        (maps,) = features.extract(patches, (level,))
        assert maps.shape == (2, cells, cells, bundle.level(level).channels)
        assert maps.dtype == np.float32
        assert maps.min() >= -0.05 * maps.max()  # after a ReLU; int8 may undershoot by a step
        np.testing.assert_array_equal(maps[1:], *features.extract(patches[1:], (level,)))


def test_int8_features_are_close_to_float32(bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    patches = np.stack([scene(100 + 5 * k, 150)[20:180, 60:220] for k in range(3)])
    for level, limit_db in (("low", 28), ("middle", 25), ("conv3", 22), ("high", 20)):
        (exact,) = NetworkFeatures(bundle, "float32").extract(patches, (level,))
        error = NetworkFeatures(bundle, "int8").extract(patches, (level,))[0] - exact
        assert 10 * np.log10((exact**2).mean() / (error**2).mean()) > limit_db


def test_the_interpreter_refuses_wrong_input(bundle_path: Path) -> None:
    model = Bundle.open(bundle_path).model("float32")
    interpreter = Interpreter(model, (1, 65, 65, 3))
    with pytest.raises(InterpreterError, match="uint8"):
        interpreter.invoke(np.zeros((1, 65, 65, 3), np.uint8))
    with pytest.raises(InterpreterError):
        interpreter.invoke(np.zeros((1, 64, 65, 3), np.float32))
    with pytest.raises(InterpreterError, match="refuses"):
        Interpreter(b"nothing", (1, 65, 65, 3))


def test_the_delegate_takes_the_float32_graph(bundle_path: Path) -> None:
    assert Interpreter(Bundle.open(bundle_path).model("float32"), (1, 65, 65, 3)).delegated


def test_wanted_outputs_come_in_the_order_asked(bundle_path: Path) -> None:
    interpreter = Interpreter(Bundle.open(bundle_path).model("float32"), (1, 65, 65, 3))
    x = np.random.default_rng(0).uniform(0, 255, (1, 65, 65, 3)).astype(np.float32)
    low, middle, _, high = interpreter.invoke(x)
    second, first = interpreter.invoke(x, wanted=(1, 0))
    np.testing.assert_array_equal(second, middle)
    np.testing.assert_array_equal(first, low)
    assert high.shape[3] == 64
    np.testing.assert_array_equal(dequantise(low, interpreter.outputs[0]), low)


def test_a_bundle_without_the_dtype_says_what_it_has(bundle_path: Path) -> None:
    bundle = Bundle.open(bundle_path)
    without = Bundle(bundle.path, bundle.manifest, {"float32": bundle.models["float32"]}, None)
    with pytest.raises(BundleError, match="only float32"):
        NetworkFeatures(without, "int8")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("level", ["low", "middle", "conv3", "high"])
def test_fkcf_follows_on_network_features(bundle_path: Path, dtype: str, level: str) -> None:
    """Even an untrained network's features carry a target; trained ones are measured in benchmarks."""
    config = load_config(None, {"tracker.kcf.feature": f"cnn:{level}"})
    tracker = make_tracker(config, NetworkFeatures(Bundle.open(bundle_path), dtype))
    tracker.init(scene(120, 160), Box.from_centre(120, 160, 48, 48))
    for k in range(1, 8):
        result = tracker.update(scene(120 + 2 * k, 160 - 3 * k))
    row, column = result.box.centre
    assert np.hypot(row - 134, column - 139) < 6
