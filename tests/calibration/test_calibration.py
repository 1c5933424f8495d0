from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from calibration.crops import make_crops, split, tracker_crop
from calibration.pictures import PUBLIC_DOMAIN, Picture, find_pictures, generated_pictures, packaged_pictures
from calibration.ranges import tensor_ranges
from calibration.report import LevelMeter, Limits, check, measure, to_json, to_markdown, to_png, worst
from edge_runtime.errors import AccuracyError, CalibrationError

LEVELS = ("low",)


def noise(name: str = "noise", seed: int = 0) -> Picture:
    picture = np.random.default_rng(seed).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    return Picture(name, lambda: picture)


def test_every_packaged_picture_decodes() -> None:
    pictures = packaged_pictures()
    assert len({picture.name for picture in pictures}) == len(pictures) >= 40
    for picture in pictures:
        image = picture.load()
        assert image is not None, picture.name
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


def test_packaged_photos_are_free_ones() -> None:
    names = {p.name.removeprefix("skimage/") for p in packaged_pictures() if p.name.startswith("skimage/")}
    assert names == set(PUBLIC_DOMAIN)
    assert not {"motorcycle_left.png", "lfw_subset.npy", "moon.png", "page.png", "logo.png"} & names


def test_colours_are_in_opencv_order() -> None:
    (retina,) = [p for p in packaged_pictures() if p.name == "skimage/retina.jpg"]
    image = retina.load()
    assert image is not None
    blue, _, red = image.reshape(-1, 3).mean(0)
    assert red > 2 * blue


def test_generated_pictures_are_the_same_every_time_and_all_different() -> None:
    first = [picture.load() for picture in generated_pictures()]
    second = [picture.load() for picture in generated_pictures()]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({image.tobytes() for image in first if image is not None}) == len(first)


def test_folder_with_photos_and_a_video(tmp_path: Path) -> None:
    for name, value in (("b.png", 10), ("a.jpg", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((40, 50, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    writer = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for value in range(0, 250, 10):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    pictures = find_pictures(tmp_path)
    assert [p.name for p in pictures[:2]] == ["a.jpg", "b.png"]
    frames = pictures[2:]
    assert len(frames) == 20
    first, last = frames[0].load(), frames[-1].load()
    assert first is not None
    assert last is not None
    assert first.mean() < 10
    assert last.mean() > 230
    crops = make_crops(pictures, 30, 48)
    assert crops.crops.shape == (30, 48, 48, 3)
    assert crops.pictures == tuple(p.name for p in pictures)


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no pictures found"):
        find_pictures(tmp_path)
    with pytest.raises(CalibrationError, match="does not exist"):
        find_pictures(tmp_path / "none")


def test_crops_depend_on_the_seed_only() -> None:
    pictures = [noise(str(i), i) for i in range(3)]
    a, b, c = (make_crops(pictures, 7, 32, seed) for seed in (0, 0, 1))
    assert a.sha256 == b.sha256 != c.sha256
    assert a.crops.shape == (7, 32, 32, 3)


def test_damaged_pictures_are_replaced_by_others() -> None:
    pictures = [noise("a"), Picture("bad", lambda: None), noise("c", 1)]
    crops = make_crops(pictures, 9, 32)
    assert len(crops.crops) == 9
    assert crops.undecodable == ("bad",)
    assert crops.pictures == ("a", "c")


def test_a_damaged_last_picture_loses_no_crop() -> None:
    assert len(make_crops([noise("a"), Picture("bad", lambda: None)], 8, 32).crops) == 8


def test_no_usable_picture() -> None:
    with pytest.raises(CalibrationError, match="none of 2 pictures can be decoded"):
        make_crops([Picture("a", lambda: None), Picture("b", lambda: None)], 5, 32)


def test_few_crops_are_spread_over_many_pictures() -> None:
    used = make_crops([noise(str(i), i) for i in range(50)], 10, 32).pictures
    assert len(used) == 10
    assert max(int(name) for name in used) >= 40


def test_split_keeps_pictures_apart() -> None:
    pictures = [noise(str(i)) for i in range(23)]
    used, held_out = split(pictures)
    assert len(held_out) == 4
    assert not {p.name for p in used} & {p.name for p in held_out}
    assert len(used) + len(held_out) == 23
    assert split(pictures[:1]) == (pictures[:1], pictures[:1])


def test_crops_leave_the_picture_by_replicating_its_border() -> None:
    image = np.full((30, 30, 3), 77, np.uint8)
    crops = [tracker_crop(image, 40, np.random.default_rng(seed)) for seed in range(30)]
    flat = [crop for crop in crops if int(crop.max()) - int(crop.min()) == 0]
    assert len(flat) == 30


def test_ranges_are_those_of_every_tensor() -> None:
    info = onnx.helper.make_tensor_value_info
    shape = ["n", 2, "r", "c"]
    nodes = [onnx.helper.make_node("Relu", ["x"], ["y"]), onnx.helper.make_node("Mul", ["y", "y"], ["z"])]
    graph = onnx.helper.make_graph(nodes, "g", [info("x", 1, shape)], [info("z", 1, shape)])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 9
    batches = [np.random.default_rng(i).normal(size=(1, 2, 5, 5)).astype(np.float32) for i in range(3)]
    ranges = tensor_ranges(model, batches)
    x = np.concatenate(batches)
    y = np.maximum(x, 0)
    for name, value in (("x", x), ("y", y), ("z", y * y)):
        assert ranges[name].low == pytest.approx(value.min())
        assert ranges[name].high == pytest.approx(value.max())
        np.testing.assert_allclose(ranges[name].channel_means, value.mean((0, 2, 3)), rtol=1e-5)


def meter(error: float) -> LevelMeter:
    rng = np.random.default_rng(0)
    original = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    original[..., 1] = 0
    model = original + error * rng.normal(size=original.shape).astype(np.float32)
    model[..., 1:] = 0
    found = LevelMeter(3)
    found.add(original, model)
    return found


def test_report_counts_dead_and_silenced_channels() -> None:
    report = meter(0.01).report("low", 100)
    assert report.channels == 3
    assert report.dead_channels == (1,)
    assert report.silenced_channels == (2,)
    assert report.channel_sqnr_db[0] == pytest.approx(40, abs=2)
    assert report.channel_sqnr_db[1] == pytest.approx(0, abs=0.01)


def test_figures_of_scaled_features() -> None:
    crops = np.random.default_rng(0).integers(1, 256, (3, 6, 6, 3)).astype(np.uint8)
    original = [lambda x: [x.astype(np.float32)], lambda x: [1.1 * x.astype(np.float32)]]
    (same,) = measure(original[0], original[0], crops, LEVELS)
    assert (same.sqnr_db, same.max_relative_error) == (200.0, 0.0)
    assert same.cosine == pytest.approx(1)
    (scaled,) = measure(*original, crops, LEVELS)
    assert scaled.sqnr_db == pytest.approx(20, abs=1e-3)
    assert scaled.cosine == pytest.approx(1)
    assert scaled.max_relative_error == pytest.approx(0.1, rel=1e-3)


def test_limits_are_enforced_and_nan_fails() -> None:
    report = meter(0.5).report("low", 64)
    with pytest.raises(AccuracyError, match=r"int8 model, level low at 64 px: SQNR is .*limit 30"):
        check("int8", [report], Limits(), LEVELS)
    with pytest.raises(AccuracyError, match="cosine"):
        check("float32", [report], Limits(), LEVELS)
    check("int8", [report], Limits((-10.0,), 0.1, 1.0), LEVELS)
    broken = LevelMeter(1)
    broken.add(np.ones((1, 2, 2, 1), np.float32), np.full((1, 2, 2, 1), np.nan, np.float32))
    with pytest.raises(AccuracyError):
        check("int8", [broken.report("low", 64)], Limits(), LEVELS)


def test_report_as_json_markdown_and_plot() -> None:
    models = {"float32": [meter(1e-6).report("low", 64)], "int8": [meter(0.02).report("low", 64)]}
    crops = {"Calibration": {"count": 3, "sha256": "ab", "pictures": ["a.png", "b.png"]}}
    parsed = json.loads(to_json(models, Limits(), crops))
    assert parsed["models"]["int8"][0]["silenced_channels"] == [2]
    text = to_markdown(models, Limits(), crops)
    assert "| int8 | low | 64 |" in text
    assert "3 crops of 2 pictures: a.png, b.png" in text
    assert to_png(models, Limits(), LEVELS).startswith(b"\x89PNG")
    assert worst(models["int8"], LEVELS)[0].level == "low"
