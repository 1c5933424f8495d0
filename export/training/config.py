"""Settings of a training run: frozen dataclasses, read from TOML, overridden by the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_runtime.errors import ConfigError
from edge_runtime.settings_file import overridden, read_toml, require
from edge_runtime.structure import structure
from export.pairs.dataset import PairSettings
from export.student import COMPRESSION_RATIOS
from export.training.correlation import FilterSettings

Losses = Literal["fidelity", "tracking", "location", "background"]
TeacherLevel = Literal["low", "middle", "high"]
Level = Literal["low", "middle", "conv3", "high"]
PAPERS_LEVELS: tuple[TeacherLevel, ...] = ("low", "middle", "high")


@dataclass(frozen=True)
class DataConfig:
    """Where pairs come from: folders of videos (VID or GOT-10k layout) and of photos; empty for none.

    `held_out` and `held_out_photos` are the shares of each that are validated on and never trained on; clips
    of one scene stay together. `check` decodes every picture once beforehand and leaves out what fails;
    without it damaged pictures are met, named and replaced on the way.
    """

    videos: str = ""
    photos: str = ""
    held_out: float = 0.2
    held_out_photos: float = 0.05
    check: bool = True

    def __post_init__(self) -> None:
        for name in ("held_out", "held_out_photos"):
            share = getattr(self, name)
            require(f"data.{name}", share, 0 < share < 1, "more than 0 and less than 1")


@dataclass(frozen=True)
class TeacherConfig:
    """Frozen networks, as `export.teachers.load_teacher` reads them ("squeezenet=FILE"); several are joint.

    `levels` maps an imported module's submodules to levels ("low=features.0,high=features.9").
    """

    networks: tuple[str, ...] = ()
    levels: str = ""


@dataclass(frozen=True)
class StudentConfig:
    """The network that is trained.

    Attributes:
        ratio: of compression, see `export.student.channels_for_ratio`.
        channels: filters of the five convolutions instead; empty for the ratio's.
        lrn: normalisation across channels after conv1 and conv2, as VGG-M has it.
        start: "random", "pruned" (random filters of the first teacher, a VGG-M), or a student's file.
    """

    ratio: int = 64
    channels: tuple[int, ...] = ()
    lrn: bool = False
    start: str = "random"

    def __post_init__(self) -> None:
        require("student.ratio", self.ratio, self.ratio in COMPRESSION_RATIOS, f"one of {COMPRESSION_RATIOS}")
        good = len(self.channels) in {0, 5} and all(c > 0 for c in self.channels)
        require("student.channels", self.channels, good, "five numbers of filters, or none")


@dataclass(frozen=True)
class LossConfig:
    """What is minimised: the weighted sum of the losses named in `terms`, each over its levels.

    Attributes:
        terms: of "fidelity" (method, eq. 5), "tracking" (eq. 8), "location" (not the paper's, see
            `location.location_loss`) and "background" (eq. 10).
        levels: of all but the fidelity loss; the paper's three, and conv3, which STRCF takes.
        fidelity_levels: of the fidelity loss.
        tracking_weight: lambda of eq. 4; the fidelity loss has weight 1. The others likewise.
        level_weights: of low, middle, conv3 and high, in every loss.
    """

    terms: tuple[Losses, ...] = ("fidelity", "tracking")
    levels: tuple[Level, ...] = PAPERS_LEVELS
    fidelity_levels: tuple[TeacherLevel, ...] = PAPERS_LEVELS
    tracking_weight: float = 1.0
    location_weight: float = 1.0
    background_weight: float = 1.0
    level_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        require("loss.terms", self.terms, bool(self.terms), "fidelity, tracking, location or background")
        for name in ("levels", "fidelity_levels"):
            require(f"loss.{name}", getattr(self, name), bool(getattr(self, name)), "low, middle or high")


@dataclass(frozen=True)
class OptimiserConfig:
    """How it is minimised. The paper has SGD with momentum 0.9 and weight decay 0.005.

    Attributes:
        warmup_steps: over which the learning rate rises linearly; then it falls to 1/1000 by `schedule`.
        clip: largest norm of the gradient.
        average: decay per step of the running average of the weights, which is what is validated and kept;
            0 keeps the weights themselves.
    """

    kind: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    momentum: float = 0.9
    warmup_steps: int = 200
    schedule: Literal["cosine", "exponential"] = "cosine"
    clip: float = 1.0
    average: float = 0.999

    def __post_init__(self) -> None:
        require("optimiser.learning_rate", self.learning_rate, self.learning_rate > 0, "more than 0")
        require("optimiser.warmup_steps", self.warmup_steps, self.warmup_steps >= 1, "1 or more")
        require("optimiser.average", self.average, 0 <= self.average < 1, "0 to below 1")


@dataclass(frozen=True)
class RunConfig:
    """How long, how often, how fast.

    Attributes:
        steps, batch: of pairs, over all processes.
        validate_every: steps between validations on the held-out videos; 0 for one at the end only.
        validation_presets: trackers that validate, on the student's features.
        workers: of pictures, per process.
        mixed_precision: bfloat16 arithmetic where a GPU has it; the filters stay float32.
        cache: folder for the teachers' features of `cache_pairs` pairs, which are then repeated; empty for
            none.
    """

    steps: int = 6000
    batch: int = 16
    seed: int = 0
    checkpoint_every: int = 200
    validate_every: int = 2000
    validation_presets: tuple[str, ...] = ("feco", "fdeepstrcf")
    workers: int = 1
    mixed_precision: bool = True
    cache: str = ""
    cache_pairs: int = 20_000

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every"):
            require(f"run.{name}", getattr(self, name), getattr(self, name) >= 1, "1 or more")


@dataclass(frozen=True)
class DistillConfig:
    """Every setting of a run; written into its folder, its checkpoint and the student."""

    data: DataConfig = field(default_factory=DataConfig)
    pairs: PairSettings = field(default_factory=PairSettings)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    filter: FilterSettings = field(default_factory=FilterSettings)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if "fidelity" in self.loss.terms and not self.teacher.networks:
            raise ConfigError("the fidelity loss needs a teacher", fix="give --teacher squeezenet=FILE")
        if not (self.data.videos or self.data.photos):
            raise ConfigError("there is nothing to train on", fix="give --videos or --photos, or both")
        if "background" in self.loss.terms and not self.pairs.negatives:
            raise ConfigError("the background loss needs negatives", fix="set pairs.negatives to 1 or more")


def load_distill_config(path: Path | None, overrides: Mapping[str, Any]) -> DistillConfig:
    """Defaults, changed by a TOML file, then by dotted names ("run.steps"); None values are left out.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not allowed.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    data = overridden(read_toml(path) if path is not None else {}, given)
    return structure(DistillConfig, data, path or "command line", ConfigError)
