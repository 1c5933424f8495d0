"""Settings of all trackers. Their defaults are those of the presets fkcf, feco and fdeepstrcf.

`systemd/cfvgg.toml` explains each for users. Sources: Henriques 2015 (KCF), Danelljan 2017 (ECO, fDSST),
Li 2018 (STRCF), with the values of the authors' programs for CF-VGG's features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from edge_runtime.confidence import ConfidenceConfig
from edge_runtime.errors import ConfigError


@dataclass(frozen=True)
class ScaleFilterConfig:
    """Settings of the scale filter; the defaults are ECO's.

    Attributes:
        scales: number of sizes that are sampled, odd.
        interpolated_scales: number of sizes after interpolation, odd.
        step: ratio of neighbouring interpolated sizes.
        label_sigma: deviation of the label over the number of interpolated sizes.
        learning_rate: share of a new frame.
        regularisation: added to the filter's denominator.
        model_area_px: largest area of the patch that the features are taken from.
    """

    TABLE: ClassVar[str] = "tracker.eco.scale"

    scales: int = 17
    interpolated_scales: int = 33
    step: float = 1.02
    label_sigma: float = 0.0625
    learning_rate: float = 0.025
    regularisation: float = 1e-2
    model_area_px: float = 512.0

    def __post_init__(self) -> None:
        count = self.interpolated_scales
        require(
            self.TABLE,
            self,
            scales=3 <= self.scales <= 65 and self.scales % 2 == 1,
            interpolated_scales=self.scales <= count <= 129 and count % 2 == 1,
            step=1.001 <= self.step <= 1.5,
            label_sigma=0 < self.label_sigma <= 1,
            learning_rate=0 <= self.learning_rate <= 1,
            regularisation=0 < self.regularisation <= 1e6,
            model_area_px=64 <= self.model_area_px <= 16384,
        )


@dataclass(frozen=True)
class KcfScaleConfig(ScaleFilterConfig):
    """Settings of the scale filter with KCF's defaults."""

    TABLE: ClassVar[str] = "tracker.kcf.scale"

    scales: int = 11
    model_area_px: float = 256.0


@dataclass(frozen=True)
class KcfConfig:
    """Settings of KCF and fKCF.

    Attributes:
        feature: "cnn:<level>", "hog" or "gray".
        hand_crafted_cell_px: cell of hog and gray, in pixels of the window.
        kernel: "linear" or "gaussian".
        kernel_sigma: deviation of the Gaussian kernel, for features of unit mean square: 5 is about what
            KCF's 0.5 is for raw HOG.
        search_scale: side of the search window over sqrt(target area).
        input_px: side that the window is resized to, px; 0 takes what suits the feature.
        label_sigma: deviation of the Gaussian label over sqrt(target area).
        regularisation: ridge term, for features of unit mean square.
        learning_rate: share of the new frame in the model.
        scale_filter: whether the size is followed, by `scale`; otherwise it stays.
    """

    feature: str = "cnn:middle"
    hand_crafted_cell_px: int = 4
    kernel: Literal["linear", "gaussian"] = "linear"
    kernel_sigma: float = 5.0
    search_scale: float = 3.0
    input_px: int = 0
    label_sigma: float = 0.125
    regularisation: float = 1e-4
    learning_rate: float = 0.02
    scale_filter: bool = True
    scale: KcfScaleConfig = field(default_factory=KcfScaleConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)

    def __post_init__(self) -> None:
        require(
            "tracker.kcf",
            self,
            hand_crafted_cell_px=2 <= self.hand_crafted_cell_px <= 16,
            kernel_sigma=0.01 <= self.kernel_sigma <= 100,
            search_scale=1.2 <= self.search_scale <= 8,
            input_px=self.input_px == 0 or 64 <= self.input_px <= 512,
            label_sigma=0.01 <= self.label_sigma <= 1,
            regularisation=0 < self.regularisation <= 10,
            learning_rate=0 <= self.learning_rate <= 1,
        )


@dataclass(frozen=True)
class EcoConfig:
    """Settings of fECO and ECO-HC.

    Attributes:
        features: blocks: "cnn:<level>", "hog", "gray", "cn".
        pooling: per block, cells a side that a network map is averaged over; 1 for the others.
        channels: per block, channels that the projection leaves.
        hand_crafted_cell_px: cell of hog, gray and cn, in pixels of the sample.
        search_scale: side of the sample over sqrt(target area).
        min_area_px, max_area_px: limits of the sample's area.
        label_sigma: deviation of the label over sqrt(target area).
        learning_rate: weight of a new sample.
        samples: memory.
        train_every: the filter is trained in every so many frames,
        train_always_before: and in all before this one (the first is 1).
        iterations: of the conjugate gradient in each training.
        first_gauss_newton, first_iterations: Gauss-Newton iterations in the first frame, and the conjugate
            gradient's in each of them.
        forgetting: the search direction of the last training counts (1 - learning_rate)^-forgetting.
        precondition_data: weight of a channel's own energy against the mean energy.
        precondition_regularisation: weight of the regularisation against the data.
        precondition_projection: factor on the projection's part.
        projection_regularisation: ridge term of the projection.
        window_least, window_edge: spatial weight in the target's centre and at its edges.
        window_threshold: Fourier coefficients of that weight below this share of the largest are dropped.
        newton_iterations: of the localisation.
    """

    features: tuple[str, ...] = ("cnn:low", "cnn:high", "hog")
    pooling: tuple[int, ...] = (2, 1, 1)
    channels: tuple[int, ...] = (3, 12, 10)
    hand_crafted_cell_px: int = 4
    search_scale: float = 4.5
    min_area_px: float = 40000.0
    max_area_px: float = 90000.0
    label_sigma: float = 1 / 12
    learning_rate: float = 0.011
    samples: int = 50
    train_every: int = 6
    train_always_before: int = 1
    iterations: int = 5
    first_gauss_newton: int = 10
    first_iterations: int = 20
    forgetting: float = 75.0
    precondition_data: float = 0.3
    precondition_regularisation: float = 0.015
    precondition_projection: float = 35.0
    projection_regularisation: float = 5e-8
    window_least: float = 1e-4
    window_edge: float = 1e-2
    window_threshold: float = 0.05
    newton_iterations: int = 5
    scale: ScaleFilterConfig = field(default_factory=ScaleFilterConfig)
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)

    def __post_init__(self) -> None:
        require("tracker.eco", self, features=1 <= len(self.features) <= 8)
        one_per_feature("tracker.eco", self.features, pooling=self.pooling, channels=self.channels)
        require(
            "tracker.eco",
            self,
            pooling=all(1 <= p <= 8 for p in self.pooling),
            # OpenCV, which regularises all channels at once, takes 512 real ones.
            channels=all(c >= 1 for c in self.channels) and sum(self.channels) <= 256,
            hand_crafted_cell_px=2 <= self.hand_crafted_cell_px <= 16,
            search_scale=1.5 <= self.search_scale <= 8,
            min_area_px=64**2 <= self.min_area_px <= self.max_area_px,
            max_area_px=self.max_area_px <= 512**2,
            label_sigma=0.01 <= self.label_sigma <= 1,
            learning_rate=0 < self.learning_rate < 1,
            samples=1 <= self.samples <= 500,
            train_every=1 <= self.train_every <= 1000,
            train_always_before=self.train_always_before >= 1,
            iterations=1 <= self.iterations <= 100,
            first_gauss_newton=1 <= self.first_gauss_newton <= 100,
            first_iterations=1 <= self.first_iterations <= 100,
            forgetting=0 < self.forgetting <= 1000,
            precondition_data=0 <= self.precondition_data <= 1,
            precondition_regularisation=0 < self.precondition_regularisation < 1,
            precondition_projection=self.precondition_projection > 0,
            projection_regularisation=self.projection_regularisation > 0,
            window_least=0 < self.window_least < self.window_edge,
            window_threshold=0 < self.window_threshold < 1,
            newton_iterations=0 <= self.newton_iterations <= 50,
        )


@dataclass(frozen=True)
class StrcfConfig:
    """Settings of fDeepSTRCF and STRCF. Features of equal cells form one group, the finest first.

    Attributes:
        features: "cnn:<level>", "hog", "gray", "cn".
        hand_crafted_cell_px: cell of hog, gray and cn, in pixels of the sample.
        search_scale: side of the sample over sqrt(target area).
        min_area_px, max_area_px: limits of the sample's area.
        label_sigma: deviation of the label over sqrt(target area).
        window_cells_px: per group, pixels per cell when the target's rectangle is drawn into the weight.
        window_inside, window_outside: spatial weight on that rectangle and outside.
        temporal: weight of the last frame's filter, per group.
        iterations: of ADMM.
        penalty, penalty_growth, penalty_most: ADMM's step, its growth per iteration, and its limit then.
        scales: number of sizes searched in each frame, odd.
        scale_step: ratio of neighbouring sizes.
        newton_iterations: of the localisation.
    """

    features: tuple[str, ...] = ("hog", "gray", "cnn:conv3")
    hand_crafted_cell_px: int = 4
    search_scale: float = 4.5
    min_area_px: float = 40000.0
    max_area_px: float = 62500.0
    label_sigma: float = 0.0625
    window_cells_px: tuple[float, ...] = (4.0, 14.0)
    window_inside: float = 1e-3
    window_outside: float = 1e5
    temporal: tuple[float, ...] = (15.0, 15.0)
    iterations: int = 2
    penalty: float = 1.0
    penalty_growth: float = 10.0
    penalty_most: float = 0.1
    scales: int = 3
    scale_step: float = 1.02
    newton_iterations: int = 5
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)

    def __post_init__(self) -> None:
        groups = len(self.temporal)
        require(
            "tracker.strcf",
            self,
            features=1 <= len(self.features) <= 8,
            hand_crafted_cell_px=2 <= self.hand_crafted_cell_px <= 16,
            search_scale=1.5 <= self.search_scale <= 8,
            min_area_px=64**2 <= self.min_area_px <= self.max_area_px,
            max_area_px=self.max_area_px <= 512**2,
            label_sigma=0.01 <= self.label_sigma <= 1,
            window_cells_px=len(self.window_cells_px) == groups and all(c > 0 for c in self.window_cells_px),
            window_inside=0 < self.window_inside < self.window_outside,
            window_outside=self.window_outside <= 1e6,
            temporal=groups >= 1 and all(mu >= 0 for mu in self.temporal),
            iterations=1 <= self.iterations <= 20,
            penalty=0 < self.penalty <= 1e4,
            penalty_growth=1 <= self.penalty_growth <= 1e3,
            penalty_most=0 < self.penalty_most <= 1e4,
            scales=1 <= self.scales <= 15 and self.scales % 2 == 1,
            scale_step=1.001 <= self.scale_step <= 1.5,
            newton_iterations=0 <= self.newton_iterations <= 50,
        )


def require(table: str, config: Any, **in_range: bool) -> None:
    """Raise `ConfigError` that names the first setting that is not finite, or out of range."""
    for field_ in fields(config):
        value = getattr(config, field_.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(math.isfinite(v) for v in numbers if isinstance(v, float)):
            raise ConfigError(f"{table}.{field_.name} = {value} is not finite")
    for name, good in in_range.items():
        if not good:
            raise ConfigError(f"{table}.{name} = {getattr(config, name)} is out of range")


def one_per_feature(table: str, features: tuple[str, ...], **settings: tuple[Any, ...]) -> None:
    """Raise `ConfigError` if a setting has more or fewer values than there are features."""
    for name, values in settings.items():
        if len(values) != len(features):
            raise ConfigError(
                f"{table}.{name} = {list(values)} has {len(values)} values for {len(features)} features",
                fix="give one per feature",
            )
