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
from edge_runtime.publishers.settings import MetricsConfig, MqttConfig, SocketConfig, UdpConfig
from edge_runtime.settings_file import overridden, read_toml, require
from edge_runtime.structure import structure
from edge_runtime.targets.settings import TargetConfig
from edge_runtime.trackers.presets import PresetName, with_preset
from edge_runtime.trackers.settings import EcoConfig, KcfConfig, StrcfConfig


@dataclass(frozen=True)
class DeviceConfig:
    """Who publishes. An empty name stands for the host name."""

    name: str = ""


@dataclass(frozen=True)
class SourceConfig:
    """Where frames come from; `edge_runtime.sources.open_source` says what a URI may be.

    Attributes:
        uri: a camera, a stream, a video file, a folder of pictures, or the fake.
        max_frames: after which a run stops; 0 for none.
        loop: repeat a recording without end.
        realtime: play a recording at its rate, as a camera would, instead of as fast as it is asked for.
        width, height: asked of a camera, in pixels; it may give another size.
        rate_hz: asked of a camera, or that of a recording in real time; 0 for its own.
        pixel_format: asked of a V4L2 camera.
        stream: of a Pi camera: "main", or "lores", the second output of its image processor (YUV 4:2:0).
        sensor_size: (width, height) of a Pi camera's sensor mode; () for the fastest that sees everything.
        open_timeout_s: for opening, up to the first frame.
        capture_timeout_s: without a usable frame, after which the camera is opened again.
        reopen_wait_s, reopen_most_s: pause before opening again, doubled at every attempt up to the second.
        give_up_after: attempts in a row, then the run fails.
    """

    uri: str = ""
    max_frames: int = 0
    loop: bool = False
    realtime: bool = False
    width: int = 640
    height: int = 480
    rate_hz: float = 0.0
    pixel_format: Literal["auto", "YUYV", "MJPG"] = "auto"
    stream: Literal["main", "lores"] = "main"
    sensor_size: tuple[int, ...] = ()
    open_timeout_s: float = 10.0
    capture_timeout_s: float = 2.0
    reopen_wait_s: float = 0.5
    reopen_most_s: float = 10.0
    give_up_after: int = 6

    def __post_init__(self) -> None:
        require("source.max_frames", self.max_frames, self.max_frames >= 0, "0 (all) or more")
        for name, most in (("width", 7680), ("height", 4320)):
            value = getattr(self, name)
            require(f"source.{name}", value, 32 <= value <= most and value % 2 == 0, f"even, 32 to {most}")
        rate_hz = self.rate_hz
        require("source.rate_hz", rate_hz, rate_hz == 0 or 1 <= rate_hz <= 1000, "0 (its own) or 1 to 1000")
        size = list(self.sensor_size)
        good = len(size) in (0, 2) and all(side > 0 for side in size)
        require("source.sensor_size", size, good, "[] or width and height")
        for name, least, most in (
            ("open_timeout_s", 0.1, 600),
            ("capture_timeout_s", 0.1, 600),
            ("reopen_wait_s", 0, 600),
            ("reopen_most_s", self.reopen_wait_s, 3600),
            ("give_up_after", 0, 1_000_000),
        ):
            value = getattr(self, name)
            require(f"source.{name}", value, least <= value <= most, f"{least:g} to {most:g}")


@dataclass(frozen=True)
class ModelConfig:
    """The bundle folder and which of its models runs.

    An empty `bundle` stands for the deployed one, see `deployment.place.chosen_bundle`; about `auto` see
    `features.chosen_dtype`.
    """

    bundle: str = ""
    dtype: Literal["auto", "int8", "float32"] = "auto"


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
class OutputConfig:
    """What a run leaves behind; an empty path leaves that one out, tracks "-" means standard output.

    In live runs, a file of tracks that would exceed `tracks_max_mb` (0: no limit) is put aside, and
    `tracks_keep` of these are kept.
    """

    tracks: str = ""
    tracks_max_mb: float = 64.0
    tracks_keep: int = 4
    video: str = ""
    contact_sheet: str = ""
    contact_sheet_frames: int = 12

    def __post_init__(self) -> None:
        most_mb, keep = self.tracks_max_mb, self.tracks_keep
        require("output.tracks_max_mb", most_mb, 0 <= most_mb <= 1e6, "0 (no limit) to 1000000")
        require("output.tracks_keep", keep, 0 <= keep <= 1000, "0 to 1000")
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
    socket: SocketConfig = field(default_factory=SocketConfig)
    udp: UdpConfig = field(default_factory=UdpConfig)
    mqtt: MqttConfig = field(default_factory=MqttConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
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
