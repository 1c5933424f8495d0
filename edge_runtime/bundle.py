"""Opening a model bundle, and refusing one that is not what it says it is."""

from __future__ import annotations

import hashlib
import io
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from edge_runtime.checksums import AGAIN, listed
from edge_runtime.errors import BundleError, ConfigError, InterpreterError
from edge_runtime.fingerprint import fingerprint, probe_pattern
from edge_runtime.interpreter import Interpreter, dequantise
from edge_runtime.manifest import (
    CHECKSUM_FILE,
    MANIFEST_FILE,
    MEAN_FILE,
    LevelInfo,
    Manifest,
    ModelInfo,
    TensorInfo,
)
from edge_runtime.preprocess import Preprocessor
from edge_runtime.types import FloatArray

# A runtime without XNNPACK rounds int8 differently by one step here and there.
FINGERPRINT_TOLERANCE = {"float32": 1e-3, "int8": 3e-2}


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, read into memory.

    Attributes:
        mean_image: float32 (rows, columns, 3) RGB, or None when the mean is folded into conv1.
    """

    path: Path
    manifest: Manifest
    models: dict[str, bytes]
    mean_image: FloatArray | None

    @classmethod
    def open(cls, path: Path) -> Bundle:
        """Read and verify `path`: checksums, then every model's tensors against the manifest, then
        what each model answers to a fixed pattern that goes through the preprocessing.

        Raises:
            BundleError: something is missing, damaged, or does not match.
            InterpreterError: no TFLite runtime is installed.
        """
        if not _is_folder(path):
            raise BundleError("is not a bundle folder", where=path, fix="make one with cfvgg-export --int8")
        files = _verified_files(path)
        manifest = Manifest.from_json(
            files[MANIFEST_FILE].decode(errors="replace"), str(path / MANIFEST_FILE)
        )
        mean_image = _mean_image(path, manifest, files)
        models = {}
        for dtype, info in manifest.models.items():
            if info.file not in files:
                raise BundleError("is missing or has no checksum", where=path / info.file, fix=AGAIN)
            models[dtype] = files[info.file]
        bundle = cls(path, manifest, models, mean_image)
        for dtype in models:
            bundle._check_model(dtype)
        return bundle

    def level(self, name: str) -> LevelInfo:
        """The level called `name`. Raises `ConfigError` when the bundle has none."""
        for level in self.manifest.levels:
            if level.name == name:
                return level
        names = ", ".join(level.name for level in self.manifest.levels)
        raise ConfigError(f"no feature level {name!r}", where=self.path, fix=f"use one of {names}")

    def model(self, dtype: str) -> bytes:
        """The flatbuffer of one dtype. Raises `BundleError` when the bundle has none."""
        if dtype not in self.models:
            have = ", ".join(self.models)
            raise BundleError(f"has no {dtype} model, only {have}", where=self.path, fix=f"use {have}")
        return self.models[dtype]

    def _check_model(self, dtype: str) -> None:
        info = self.manifest.models[dtype]
        where = self.path / info.file
        size = info.fingerprint.size_px
        try:
            interpreter = Interpreter(self.models[dtype], (1, size, size, 3))
        except InterpreterError as error:
            if "refuses" not in error.what:
                raise
            raise BundleError(error.what, where=where, fix=AGAIN) from error
        if hashlib.sha256(self.models[dtype]).hexdigest() != info.sha256:
            raise BundleError("is not the model of the manifest (sha256)", where=where, fix=AGAIN)
        _check_tensors(interpreter, info, self.manifest.levels, where)
        preprocess = Preprocessor(self.manifest.preprocessing, self.mean_image, info.input)
        try:
            raw = interpreter.invoke(preprocess(probe_pattern(size)))
        except RuntimeError as error:
            raise BundleError(f"cannot be run ({error!s:.100})", where=where, fix=AGAIN) from error
        outputs = [dequantise(r, t) for r, t in zip(raw, interpreter.outputs, strict=True)]
        found, expected = fingerprint(outputs), info.fingerprint.mean_abs
        # Each number is held against the level's largest: a nearly dead corner has no scale of its own.
        for level, got, want in zip(self.manifest.levels, found, expected, strict=True):
            worst = max(abs(g - w) for g, w in zip(got, want, strict=True))
            if not worst <= FINGERPRINT_TOLERANCE[dtype] * max(want):
                raise BundleError(
                    f"answers the test pattern wrongly on level {level.name}: preprocessing and weights "
                    f"do not belong together (off by {worst:.3g} of {max(want):.3g})",
                    where=where,
                    fix=AGAIN,
                )


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # Path.is_dir raises some of these: a name that is too long, access denied
        return False


def _verified_files(path: Path) -> dict[str, bytes]:
    """Every file of SHA256SUMS, read and checked."""
    sums = path / CHECKSUM_FILE
    files = {}
    for name, digest in listed(path).items():
        file = path / name
        try:
            data = file.read_bytes()
        except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
            reason = error.strerror if isinstance(error, OSError) else error
            raise BundleError(f"cannot be read ({reason})", where=file, fix=AGAIN) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise BundleError("checksum does not match SHA256SUMS", where=file, fix=AGAIN)
        files[name] = data
    if MANIFEST_FILE not in files:
        raise BundleError(f"does not list {MANIFEST_FILE}", where=sums, fix=AGAIN)
    return files


def _mean_image(path: Path, manifest: Manifest, files: dict[str, bytes]) -> FloatArray | None:
    if manifest.preprocessing.mean == "folded":
        return None
    if MEAN_FILE not in files:
        raise BundleError("is missing or has no checksum", where=path / MEAN_FILE, fix=AGAIN)
    where = path / MEAN_FILE
    try:
        # Not np.load, which takes archives as well. NumPy leaves it without types.
        mean = np.lib.format.read_array(io.BytesIO(files[MEAN_FILE]), allow_pickle=False)  # type: ignore[no-untyped-call]
    except Exception as error:  # a damaged file raises a dozen types, tokenize's own among them
        raise BundleError(f"is no array of NumPy's ({error!s:.100})", where=where, fix=AGAIN) from error
    if mean.ndim != 3 or mean.shape[2] != 3 or 0 in mean.shape or mean.dtype != np.float32:
        what = f"is {mean.dtype} {mean.shape}, not float32 (rows, columns, 3)"
        raise BundleError(what, where=where, fix=AGAIN)
    return cast(FloatArray, mean)


def _check_tensors(
    interpreter: Interpreter, info: ModelInfo, levels: tuple[LevelInfo, ...], where: Path
) -> None:
    if len(interpreter.outputs) != len(info.outputs) or len(info.outputs) != len(levels):
        raise BundleError(
            f"has {len(interpreter.outputs)} outputs for {len(levels)} levels", where=where, fix=AGAIN
        )
    pairs = [(interpreter.input, info.input), *zip(interpreter.outputs, info.outputs, strict=True)]
    for found, expected in pairs:
        if not _same_tensor(found, expected):
            raise BundleError(f"has tensor {found}, the manifest says {expected}", where=where, fix=AGAIN)
    size = info.fingerprint.size_px
    for level, shape in zip(levels, interpreter.output_shapes, strict=True):
        last_centre = level.first_centre_px + (shape[1] - 1) * level.stride
        # The grid covers the input symmetrically, up to what rounding a stride leaves over.
        covered = size - 1 - level.first_centre_px - level.stride < last_centre < size
        if shape[3] != level.channels or not covered:
            raise BundleError(
                f"level {level.name} comes out as {shape[1:]}, which is not {level.channels} channels at "
                f"stride {level.stride}",
                where=where,
                fix=AGAIN,
            )


def _same_tensor(a: TensorInfo, b: TensorInfo) -> bool:
    same_kind = (a.name, a.dtype, a.zero_point) == (b.name, b.dtype, b.zero_point)
    return same_kind and math.isclose(a.scale, b.scale, rel_tol=1e-6)
