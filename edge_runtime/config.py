"""Every setting of the device side: frozen dataclasses, read from TOML, overridden by the command line.

`systemd/cfvgg.toml` documents each of them with its default; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_runtime.adaptation.settings import AdaptConfig
from edge_runtime.errors import ConfigError
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.settings_file import overridden, read_toml, require
from edge_runtime.structure import structure
from edge_runtime.trackers.presets import PresetName, with_preset
from edge_runtime.trackers.settings import EcoConfig, KcfConfig, StrcfConfig


@dataclass(frozen=True)
class DeviceConfig:
    """Who publishes. An empty name stands for the host name."""

    name: str = ""


@dataclass(frozen=True)
class SourceConfig:
    """Where frames come from: see `edge_runtime.sources.open_source`; `max_frames` 0 means all."""

    uri: str = ""
    max_frames: int = 0

    def __post_init__(self) -> None:
        require("source.max_frames", self.max_frames, self.max_frames >= 0, "0 (all) or more")


@dataclass(frozen=True)
class ModelConfig:
    """The bundle folder and which of its models runs; `auto` takes int8."""

    bundle: str = ""
    dtype: Literal["auto", "int8", "float32"] = "auto"

    @property
    def chosen_dtype(self) -> Literal["int8", "float32"]:
        """`dtype` with `auto` resolved."""
        return "int8" if self.dtype == "auto" else self.dtype


@dataclass(frozen=True)
class TrackerConfig:
    """Which tracker, and the settings of each family. A preset changes the defaults of its own family.

    `colour_names` is a table for the feature "cn", which is not shipped; empty for none.
    """

    preset: PresetName = "fkcf"
    colour_names: str = ""
    kcf: KcfConfig = field(default_factory=KcfConfig)
    eco: EcoConfig = field(default_factory=EcoConfig)
    strcf: StrcfConfig = field(default_factory=StrcfConfig)


@dataclass(frozen=True)
class TargetConfig:
    """The first box, x,y,w,h in pixels, and the frame (from 0) that it belongs to.

    Without a box, the ground truth of that frame is taken.

    Frames before it are published as `searching`.
    """

    box: tuple[float, ...] = ()
    frame: int = 0

    def __post_init__(self) -> None:
        require("target.box", list(self.box), len(self.box) in (0, 4), "four numbers x,y,w,h in pixels")
        require("target.frame", self.frame, self.frame >= 0, "0 or more")


@dataclass(frozen=True)
class OutputConfig:
    """What a run leaves behind; an empty path leaves that one out, tracks "-" means standard output."""

    tracks: str = ""
    video: str = ""
    contact_sheet: str = ""
    contact_sheet_frames: int = 12

    def __post_init__(self) -> None:
        n = self.contact_sheet_frames
        require("output.contact_sheet_frames", n, 1 <= n <= 100, "1 to 100")
        for name, suffix in (("video", ".mp4"), ("contact_sheet", ".png")):
            path = getattr(self, name)
            good = not path or Path(path).suffix.lower() == suffix
            require(f"output.{name}", path, good, f"a name that ends in {suffix}")


@dataclass(frozen=True)
class EvaluationConfig:
    """Ground truth to score the tracks against; empty for none."""

    groundtruth: str = ""


@dataclass(frozen=True)
class Config:
    """Everything, one attribute a TOML table."""

    device: DeviceConfig = field(default_factory=DeviceConfig)
    source: SourceConfig = field(default_factory=SourceConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    preview: PreviewConfig = field(default_factory=PreviewConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Defaults, changed by the preset, then the TOML file, then `overrides`.

    Args:
        path: a TOML file, or None for the defaults.
        overrides: dotted names ("source.uri") to values; None values are left out.

    Raises:
        ConfigError: the file cannot be read, is not TOML, has an unknown key, or a value of the wrong
            type or out of range.
    """
    data = read_toml(path) if path is not None else {}
    config = _structure(data, path or "defaults")
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    return _structure(overridden(data, given), "command line") if given else config


def _structure(data: dict[str, Any], where: str | Path) -> Config:
    try:
        return structure(Config, with_preset(data), where, ConfigError)
    except ConfigError as error:
        if error.where is not None:
            raise
        raise ConfigError(error.what, where=where, fix=error.fix) from error
