"""What an export is calibrated and checked with: crops of packaged or of the user's pictures."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calibration.crops import DEFAULT_COUNT, DEFAULT_SIZE_PX, CropSet, make_crops, split
from calibration.pictures import find_pictures, packaged_pictures
from calibration.ranges import Range, tensor_ranges
from calibration.report import Limits
from edge_runtime.errors import CalibrationError
from edge_runtime.preprocess import Preprocessor
from export.checkpoints import Student
from export.onnx_graph import INPUT
from export.verify import FLOAT_INPUT, preprocessing_of, to_nchw

log = logging.getLogger(__name__)
FEW_PICTURES = 100
TOO_FEW_PICTURES = 10  # under this many, other scenes clip: SQNR on them falls below 10 dB
CALIBRATION_SEED, CHECK_SEED = 0, 1


@dataclass(frozen=True)
class ExportSettings:
    """What to export and how strictly to check it.

    Attributes:
        int8: also write the int8 model.
        calibration: folder of photos and videos, or None for the packaged pictures.
        crops: how many to calibrate with.
        sizes_px: input sizes that are checked, `checks` crops each, from pictures kept out of calibration.
    """

    int8: bool = False
    calibration: Path | None = None
    crops: int = DEFAULT_COUNT
    sizes_px: tuple[int, ...] = (129, 200, 224)
    checks: int = 40
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class CropSets:
    """Crops to calibrate with and, from other pictures, crops of every size to check with."""

    source: str
    calibration: CropSet
    checks: tuple[CropSet, ...]

    def facts(self, int8: bool) -> dict[str, Any]:
        """For the report: which pictures, how many crops, and their hashes."""
        named = {"Calibration": self.calibration} if int8 else {}
        named |= {f"Check at {s.crops.shape[1]} px": s for s in self.checks}
        return {
            name: {"count": len(s.crops), "sha256": s.sha256, "pictures": s.pictures}
            for name, s in named.items()
        }


def crop_sets(settings: ExportSettings) -> CropSets:
    """Cut the crops; warn about few or damaged pictures. Raises `CalibrationError`."""
    if settings.calibration is None:
        pictures, folder = packaged_pictures(), None
        generated = sum(picture.name.startswith("generated/") for picture in pictures)
        photos = len(pictures) - generated
        source = f"packaged default ({photos} public-domain photos, {generated} generated pictures)"
    else:
        folder = settings.calibration
        pictures = find_pictures(folder)
        source = f"folder {folder.resolve().name} ({len(pictures)} pictures)"
    for_ranges, held_out = split(pictures)
    calibration = make_crops(for_ranges, settings.crops, DEFAULT_SIZE_PX, CALIBRATION_SEED)
    checks = [make_crops(held_out, settings.checks, size, CHECK_SEED) for size in settings.sizes_px]
    damaged = {name for crops in (calibration, *checks) for name in crops.undecodable}
    usable = len(pictures) - len(damaged)
    if usable < TOO_FEW_PICTURES:
        raise CalibrationError(
            f"{usable} usable pictures are too few to calibrate with",
            where=folder,
            fix=f"give at least {TOO_FEW_PICTURES}, better {FEW_PICTURES}, or leave --calibration out",
        )
    if folder is not None and usable < FEW_PICTURES:
        log.warning(
            "%s: only %d pictures; int8 accuracy depends on breadth, give %d or more",
            folder,
            usable,
            FEW_PICTURES,
        )
    if damaged:
        log.warning(
            "%d of %d pictures cannot be decoded, %s among them", len(damaged), len(pictures), min(damaged)
        )
    return CropSets(source, calibration, tuple(checks))


def calibrated_ranges(model: onnx.ModelProto, student: Student, crops: NDArray[np.uint8]) -> dict[str, Range]:
    """Ranges of every tensor; the input's are exact, so that no pixel value is clipped."""
    preprocessing, mean_image = preprocessing_of(student)
    preprocess = Preprocessor(preprocessing, mean_image, FLOAT_INPUT)
    inputs = (to_nchw(preprocess(crops[i : i + 1])) for i in range(len(crops)))
    ranges = tensor_ranges(model, inputs)
    smallest = 0.0 if mean_image is None else float(mean_image.min())
    largest = 0.0 if mean_image is None else float(mean_image.max())
    ranges[INPUT] = replace(ranges[INPUT], low=-largest, high=255 - smallest)
    return ranges
