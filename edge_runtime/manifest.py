"""The description that a bundle carries of itself: `manifest.json`, format `cfvgg-bundle/1`.

The exporter writes these dataclasses, the device reads them; both use this module.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_runtime.errors import BundleError
from edge_runtime.structure import structure

FORMAT = "cfvgg-bundle/1"
MANIFEST_FILE = "manifest.json"
CHECKSUM_FILE = "SHA256SUMS"
CARD_FILE = "MODEL_CARD.md"
ONNX_FILE = "model.onnx"
MODEL_FILES = {"float32": "float32.tflite", "int8": "int8.tflite"}
MEAN_FILE = "mean_image.npy"
MIN_INPUT_PX = 33  # smallest side that still gives one cell on every level
MOST_FINGERPRINT_PX = 1024  # a larger one only takes memory and time
FINGERPRINT_VALUES = 8


@dataclass(frozen=True)
class Preprocessing:
    """From a BGR uint8 patch to the model's input.

    `mean` is "folded" when the file takes RGB 0..255 as it is (a channel mean is inside conv1's
    bias), or "image" when `mean_image.npy`, float32 (rows, columns, 3) RGB, is resized as MATLAB's
    `imresize` (bicubic) to the patch and subtracted.
    """

    colour: Literal["RGB"]
    mean: Literal["folded", "image"]
    mean_rgb: tuple[float, float, float]


@dataclass(frozen=True)
class LevelInfo:
    """One feature level: cell `i` is centred on input pixel `first_centre_px + i * stride`."""

    name: str
    stride: int
    channels: int
    first_centre_px: float

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"level {self.name} has stride {self.stride}")


@dataclass(frozen=True)
class TensorInfo:
    """A model tensor, NHWC; scale 0 and zero point 0 when it is not quantised."""

    name: str
    dtype: Literal["float32", "int8"]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Fingerprint:
    """What the model answers to `bundle.probe_pattern(size_px)`: ties preprocessing to weights.

    `mean_abs` holds, per level, eight mean absolute values of the dequantised output: two halves of the
    channels x two halves of the rows x two halves of the columns (channel half slowest).
    """

    size_px: int
    mean_abs: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not MIN_INPUT_PX <= self.size_px <= MOST_FINGERPRINT_PX:
            raise ValueError(f"size_px = {self.size_px} is not {MIN_INPUT_PX} to {MOST_FINGERPRINT_PX}")
        if any(len(level) != FINGERPRINT_VALUES for level in self.mean_abs):
            raise ValueError(f"mean_abs holds a level without its {FINGERPRINT_VALUES} values")


@dataclass(frozen=True)
class ModelInfo:
    """One TFLite file: `outputs[i]` is the tensor of `levels[i]`."""

    file: str
    bytes: int
    sha256: str
    input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    fingerprint: Fingerprint


@dataclass(frozen=True)
class CalibrationInfo:
    """The pictures that set the int8 ranges.

    Attributes:
        input_means: per convolution ("conv1"), what each of its input channels was on average, which other
            weights need to be quantised as the exporter does.
    """

    source: str
    count: int
    sha256: str
    input_means: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class LevelAccuracy:
    """A model against torch float32 on one level; the worst over the sizes that were checked."""

    level: str
    sqnr_db: float
    cosine: float
    max_relative_error: float


@dataclass(frozen=True)
class Manifest:
    """Everything in `manifest.json`."""

    name: str
    source: str
    licence: str
    created_utc: str
    git_revision: str
    parameters: int
    network_channels: tuple[int, ...]
    lrn: bool
    preprocessing: Preprocessing
    levels: tuple[LevelInfo, ...]
    models: dict[str, ModelInfo]
    calibration: CalibrationInfo | None
    accuracy: dict[str, tuple[LevelAccuracy, ...]]
    checked_sizes_px: tuple[int, ...]
    versions: dict[str, str]
    provenance: dict[str, Any] = field(default_factory=dict)
    format: str = FORMAT

    def __post_init__(self) -> None:
        unknown = self.models.keys() - MODEL_FILES.keys()
        if unknown:
            raise ValueError(f"models holds {min(unknown)!r}, which is none of {', '.join(MODEL_FILES)}")
        for dtype, info in self.models.items():
            if len(info.fingerprint.mean_abs) != len(self.levels):
                raise ValueError(f"the fingerprint of {dtype} is not one of {len(self.levels)} levels")

    def to_json(self) -> str:
        """The manifest as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Manifest:
        """Parse and type-check.

        Raises:
            BundleError: not JSON, another format, or a field is missing, unknown or of another type.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"is not JSON ({error})", where=where) from error
        found = data.get("format") if isinstance(data, dict) else None
        if found != FORMAT:
            raise BundleError(
                f"has format {found!r}, expected {FORMAT!r}", where=where, fix="export it again"
            )
        return structure(cls, data, where, BundleError)
