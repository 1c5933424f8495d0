"""Makes model bundles: converts, calibrates, checks, and writes everything or nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from calibration.crops import DEFAULT_SIZE_PX
from calibration.report import LevelReport, check, to_json, to_markdown, to_png, worst
from edge_runtime.errors import ConfigError
from edge_runtime.files import folder_atomic
from edge_runtime.interpreter import Interpreter
from edge_runtime.manifest import (
    CARD_FILE,
    CHECKSUM_FILE,
    FORMAT,
    MANIFEST_FILE,
    MEAN_FILE,
    MIN_INPUT_PX,
    MODEL_FILES,
    ONNX_FILE,
    CalibrationInfo,
    Manifest,
    ModelInfo,
)
from export.calibrate import CropSets, ExportSettings, calibrated_ranges, crop_sets
from export.card import model_card
from export.checkpoints import Student
from export.onnx_graph import folded, to_onnx
from export.student import LEVELS, level_infos
from export.tflite_writer import input_means, write_tflite
from export.verify import compare, fingerprint_of, preprocessing_of

log = logging.getLogger(__name__)
PACKAGES = ("cfvgg", "torch", "onnx", "onnxruntime", "ai-edge-litert", "numpy", "opencv-python-headless")


def export_bundle(
    student: Student, name: str, out: Path, settings: ExportSettings, force: bool = False
) -> Manifest:
    """Write `student` as a bundle in the folder `out`.

    Args:
        student: the network.
        name: of the network, for the manifest.
        out: the folder; a bundle that is already there is replaced at the end.
        settings: what to write and check.
        force: also replace a folder that is not a bundle.

    Raises:
        ConfigError: `out` is something else than a bundle, or a size is too small.
        CalibrationError: no usable pictures.
        AccuracyError: a written model is beyond a limit; nothing is left behind.
        StorageError: writing failed; nothing is left behind.
    """
    out = out.resolve()
    check_target(out, force)
    for size in settings.sizes_px:
        if size < MIN_INPUT_PX:
            raise ConfigError(f"input size {size} px is too small", fix=f"use at least {MIN_INPUT_PX}")
    crops = crop_sets(settings)
    network = folded(student)
    log.info("torch -> ONNX")
    model = to_onnx(network)
    files, means = {MODEL_FILES["float32"]: write_tflite(model)}, dict[str, tuple[float, ...]]()
    if settings.int8:
        log.info("calibrating int8 with %d crops: %s", len(crops.calibration.crops), crops.source)
        ranges = calibrated_ranges(model, student, crops.calibration.crops)
        files[MODEL_FILES["int8"]] = write_tflite(model, ranges)
        means = input_means(model, ranges)
    files[ONNX_FILE] = model.SerializeToString()
    with folder_atomic(out) as staging:
        for file, data in files.items():
            (staging / file).write_bytes(data)
        folder = _Folder(staging, student, name, settings, crops, means)
        reports = folder.check()
        manifest = folder.describe(reports)
        folder.write_texts(manifest, reports)
    log.info("bundle written to %s", out)
    return manifest


def check_target(out: Path, force: bool) -> None:
    """Refuse to replace what is not a bundle. Raises `ConfigError`."""
    if out.is_dir():
        manifest = out / MANIFEST_FILE
        ours = not any(out.iterdir()) or (
            manifest.is_file() and FORMAT in manifest.read_text(errors="replace")
        )
        if Path.cwd().is_relative_to(out):
            raise ConfigError("is the current folder or above it", where=out, fix="choose another --out")
        if not ours and not force:
            raise ConfigError("exists and is not a bundle", where=out, fix="choose another --out, or --force")
    elif out.exists():
        raise ConfigError("is a file", where=out, fix="choose another --out")


@dataclass(frozen=True)
class _Folder:
    """The bundle that is being written into a staging folder."""

    path: Path
    student: Student
    name: str
    settings: ExportSettings
    crops: CropSets
    input_means: dict[str, tuple[float, ...]]

    @property
    def tflite(self) -> dict[str, Path]:
        files = {dtype: self.path / file for dtype, file in MODEL_FILES.items()}
        return {dtype: file for dtype, file in files.items() if file.exists()}

    def check(self) -> dict[str, list[LevelReport]]:
        """Run every written model on the check crops. Raises `AccuracyError`."""
        sizes = ", ".join(str(size) for size in self.settings.sizes_px)
        log.info("checking %s at %s px against torch", ", ".join(self.tflite), sizes)
        crops = [crop_set.crops for crop_set in self.crops.checks]
        reports = compare(self.student, self.path / ONNX_FILE, self.tflite, crops)
        for model, figures in reports.items():
            check(model, figures, self.settings.limits, LEVELS)
        return reports

    def describe(self, reports: dict[str, list[LevelReport]]) -> Manifest:
        """The manifest of the models that were written."""
        network, source = self.student.model, self.crops.calibration
        calibration = CalibrationInfo(self.crops.source, len(source.crops), source.sha256, self.input_means)
        return Manifest(
            name=self.name,
            source=self.student.source,
            licence=self.student.licence,
            created_utc=created().strftime("%Y-%m-%dT%H:%M:%SZ"),
            git_revision=git_revision(),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            network_channels=network.channels,
            lrn=network.lrn is not None,
            preprocessing=preprocessing_of(self.student)[0],
            levels=level_infos(network.level_channels),
            models={dtype: model_info(path, self.student) for dtype, path in self.tflite.items()},
            calibration=calibration if self.settings.int8 else None,
            accuracy={model: worst(figures, LEVELS) for model, figures in reports.items()},
            checked_sizes_px=self.settings.sizes_px,
            versions={"python": platform.python_version(), **installed_versions()},
            provenance=self.student.provenance,
        )

    def write_texts(self, manifest: Manifest, reports: dict[str, list[LevelReport]]) -> None:
        """Everything of a bundle but its models; the checksums last."""
        if self.student.mean.ndim == 3:
            np.save(self.path / MEAN_FILE, self.student.mean)
        limits, facts = self.settings.limits, self.crops.facts(self.settings.int8)
        report = self.path / "report"
        report.mkdir()
        (self.path / MANIFEST_FILE).write_text(manifest.to_json())
        (self.path / CARD_FILE).write_text(model_card(manifest, limits))
        (report / "accuracy.json").write_text(to_json(reports, limits, facts))
        (report / "accuracy.md").write_text(to_markdown(reports, limits, facts))
        (report / "accuracy.png").write_bytes(to_png(reports, limits, LEVELS))
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        digests = {
            file.relative_to(self.path): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
        }
        lines = [f"{digest}  {file.as_posix()}\n" for file, digest in digests.items()]
        (self.path / CHECKSUM_FILE).write_text("".join(lines))


def model_info(path: Path, student: Student) -> ModelInfo:
    """A TFLite file as its interpreter sees it."""
    data = path.read_bytes()
    interpreter = Interpreter(data, (1, DEFAULT_SIZE_PX, DEFAULT_SIZE_PX, 3))
    if not interpreter.delegated:
        log.warning("%s: XNNPACK does not take the whole graph here, the model will be slow", path.name)
    digest = hashlib.sha256(data).hexdigest()
    return ModelInfo(
        path.name, len(data), digest, interpreter.input, interpreter.outputs, fingerprint_of(data, student)
    )


def created() -> datetime:
    """Now, or SOURCE_DATE_EPOCH for reproducible bundles, in UTC."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch and epoch.isdigit() else datetime.now(UTC)


def git_revision() -> str:
    """The commit of this source tree ("-dirty" if changed), or "unknown" when it is installed elsewhere."""
    here = Path(__file__)
    describe = [
        "git",
        "-C",
        str(here.parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    tracked = ["git", "-C", str(here.parent), "ls-files", "--error-unmatch", here.name]
    try:
        subprocess.run(tracked, check=True, capture_output=True)
        return subprocess.run(describe, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def installed_versions() -> dict[str, str]:
    """Versions of the packages that made the bundle."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
