from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import export.bundle
import export.calibrate
from calibration.pictures import Picture
from calibration.report import Limits
from edge_runtime.bundle import Bundle
from edge_runtime.errors import AccuracyError, BundleError, CalibrationError, ConfigError, StorageError
from edge_runtime.manifest import Manifest
from export.bundle import export_bundle
from export.calibrate import ExportSettings
from export.verify import fingerprint_of
from tests.export.conftest import Converted

SETTINGS = ExportSettings(int8=True, crops=40, sizes_px=(65, 96, 128), checks=8)
FILES = {
    "MODEL_CARD.md",
    "SHA256SUMS",
    "float32.tflite",
    "int8.tflite",
    "manifest.json",
    "model.onnx",
    "report/accuracy.json",
    "report/accuracy.md",
    "report/accuracy.png",
}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def plain_bundle(tmp_path_factory: pytest.TempPathFactory, plain: Converted, pictures: list[Picture]) -> Path:
    return make(plain, tmp_path_factory.mktemp("bundles") / "plain", pictures=pictures)


@pytest.fixture(scope="module")
def normalised_bundle(
    tmp_path_factory: pytest.TempPathFactory, normalised: Converted, pictures: list[Picture]
) -> Path:
    return make(normalised, tmp_path_factory.mktemp("bundles") / "normalised", pictures=pictures)


def make(
    converted: Converted,
    out: Path,
    settings: ExportSettings = SETTINGS,
    pictures: list[Picture] | None = None,
    **options: Any,
) -> Path:
    """Export without running torch's ONNX exporter again."""
    with pytest.MonkeyPatch.context() as patch:
        if pictures is not None:
            patch.setattr(export.calibrate, "packaged_pictures", lambda: pictures)
        patch.setattr(export.bundle, "to_onnx", lambda network: converted.onnx)
        export_bundle(converted.student, "test", out, settings, **options)
    return out


def manifest_of(folder: Path) -> Manifest:
    return Manifest.from_json((folder / "manifest.json").read_text(), "test")


def test_everything_is_written(plain_bundle: Path, normalised_bundle: Path) -> None:
    assert files_of(plain_bundle) == FILES
    assert files_of(normalised_bundle) == FILES | {"mean_image.npy"}
    assert [path.name for path in plain_bundle.parent.iterdir()] == ["plain"]


def test_checksums_cover_every_other_file(plain_bundle: Path) -> None:
    lines = [line.split("  ") for line in (plain_bundle / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == FILES - {"SHA256SUMS"}
    for digest, name in lines:
        assert hashlib.sha256((plain_bundle / name).read_bytes()).hexdigest() == digest


def test_manifest_describes_the_models(plain_bundle: Path, normalised_bundle: Path, plain: Converted) -> None:
    manifest = manifest_of(plain_bundle)
    assert [(v.name, v.stride, v.channels) for v in manifest.levels] == [
        ("low", 2, 12),
        ("middle", 8, 32),
        ("conv3", 16, 64),
        ("high", 16, 64),
    ]
    assert manifest.preprocessing.mean == "folded"
    assert not manifest.lrn
    assert manifest.calibration is not None
    assert manifest.calibration.count == 40
    assert "17 public-domain photos" in manifest.calibration.source
    for dtype, info in manifest.models.items():
        data = (plain_bundle / info.file).read_bytes()
        assert (info.bytes, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert info.fingerprint == fingerprint_of(data, plain.student)
        assert info.input.dtype == dtype
    other = manifest_of(normalised_bundle)
    assert other.preprocessing.mean == "image"
    assert other.lrn
    assert set(other.accuracy) == {"onnx", "float32", "int8"}


def test_the_device_opens_it(plain_bundle: Path, normalised_bundle: Path) -> None:
    assert set(Bundle.open(plain_bundle).models) == {"float32", "int8"}
    mean = Bundle.open(normalised_bundle).mean_image
    assert mean is not None
    assert mean.shape == (40, 40, 3)


def test_the_device_refuses_one_flipped_byte(tmp_path: Path, plain: Converted) -> None:
    out = make(plain, tmp_path / "b", replace(SETTINGS, int8=False))
    assert set(manifest_of(out).models) == {"float32"}
    path = out / "float32.tflite"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"float32\.tflite: checksum"):
        Bundle.open(out)


def test_report_names_pictures_and_channels(plain_bundle: Path) -> None:
    report = json.loads((plain_bundle / "report" / "accuracy.json").read_text())
    calibration = set(report["crops"]["Calibration"]["pictures"])
    checks = set(report["crops"]["Check at 96 px"]["pictures"])
    assert "skimage/astronaut.png" in calibration
    assert not calibration & checks
    assert {figures["size_px"] for figures in report["models"]["int8"]} == {65, 96, 128}
    assert (plain_bundle / "report" / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_same_input_gives_the_same_bundle(
    tmp_path: Path, plain: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1500000000")
    settings = replace(SETTINGS, sizes_px=(65,), checks=2)
    a, b = (make(plain, tmp_path / name, settings) for name in "ab")
    assert "2017-07-14T02:40:00Z" in (a / "manifest.json").read_text()
    assert (a / "SHA256SUMS").read_text() == (b / "SHA256SUMS").read_text()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(min_sqnr_db=(90.0, 28.0, 25.0, 24.0)), "int8 model, level low at 65 px: SQNR"),
        (Limits(min_sqnr_db=(30.0, 28.0, 90.0, 24.0)), "int8 model, level conv3 at 65 px: SQNR"),
        (Limits(min_cosine=0.9999999), "int8 model, level .* cosine"),
        (Limits(max_relative_error=1e-12), "onnx model, level low .* largest error"),
    ],
)
def test_inaccurate_models_leave_nothing(
    tmp_path: Path, plain: Converted, limits: Limits, message: str
) -> None:
    with pytest.raises(AccuracyError, match=message):
        make(plain, tmp_path / "b", replace(SETTINGS, limits=limits))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_whole_or_not_at_all(tmp_path: Path, plain: Converted) -> None:
    settings = replace(SETTINGS, sizes_px=(65,), checks=2)
    out = make(plain, tmp_path / "b", settings)
    (out / "stale").write_text("from an earlier version")
    with pytest.raises(AccuracyError):
        make(plain, out, replace(settings, limits=Limits(min_cosine=2.0)))
    assert files_of(out) == FILES | {"stale"}
    make(plain, out, settings)
    assert files_of(out) == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_full_disk_leaves_nothing(
    tmp_path: Path, plain: Converted, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if call == "write":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        make(plain, tmp_path / "b", replace(SETTINGS, sizes_px=(65,), checks=2))
    assert list(tmp_path.iterdir()) == []


def test_targets_that_are_not_bundles_are_refused(
    tmp_path: Path, plain: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="not a bundle"):
        make(plain, folder)
    with pytest.raises(ConfigError, match="is a file"):
        make(plain, folder / "chapter1.txt")
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match="current folder"):
        make(plain, Path(), force=True)
    assert files_of(folder) == {"chapter1.txt"}
    monkeypatch.chdir("/")
    make(plain, folder, replace(SETTINGS, int8=False, sizes_px=(65,), checks=2), force=True)
    assert "chapter1.txt" not in files_of(folder)


def write_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        picture = cv2.resize(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8), (160, 120))
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    return folder


def test_too_few_calibration_pictures_leave_nothing(
    tmp_path: Path, plain: Converted, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(SETTINGS, calibration=write_photos(tmp_path / "photos", count=9))
    with pytest.raises(CalibrationError, match="9 usable pictures are too few"):
        make(plain, tmp_path / "b", settings)
    assert not (tmp_path / "b").exists()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_calibration_folder(tmp_path: Path, plain: Converted, caplog: pytest.LogCaptureFixture) -> None:
    photos = write_photos(tmp_path / "photos", count=11)
    (photos / "11.jpg").write_bytes(b"broken")
    settings = replace(SETTINGS, calibration=photos, sizes_px=(65,), checks=4)
    manifest = manifest_of(make(plain, tmp_path / "b", settings))
    assert manifest.calibration is not None
    assert manifest.calibration.source == "folder photos (12 pictures)"
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("only 11 pictures" in line for line in warnings)
    assert any("cannot be decoded, 11.jpg" in line for line in warnings)


def test_calibration_folder_without_a_usable_picture(tmp_path: Path, plain: Converted) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    settings = replace(SETTINGS, calibration=photos)
    with pytest.raises(CalibrationError, match="no pictures found"):
        make(plain, tmp_path / "b", settings)
    (photos / "a.jpg").write_bytes(b"broken")
    with pytest.raises(CalibrationError, match="none of 1 pictures can be decoded"):
        make(plain, tmp_path / "b", settings)
    assert not (tmp_path / "b").exists()


def test_too_small_an_input(tmp_path: Path, plain: Converted) -> None:
    with pytest.raises(ConfigError, match="input size 32 px"):
        make(plain, tmp_path / "b", replace(SETTINGS, sizes_px=(32,)))
