"""From a response map's statistics to a confidence, and from confidences to a state."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_runtime.errors import ConfigError
from edge_runtime.types import TrackState


@dataclass(frozen=True)
class ConfidenceConfig:
    """When a target counts as uncertain and lost.

    Attributes:
        uncertain_below: confidence under which nothing is learned.
        lost_below: confidence under which a frame counts towards `lost_after_frames`.
        lost_after_frames: consecutive frames until the state is lost.
        reacquired_above: confidence that ends a loss.
    """

    uncertain_below: float = 0.35
    lost_below: float = 0.2
    lost_after_frames: int = 10
    reacquired_above: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.lost_below <= self.uncertain_below <= self.reacquired_above <= 1:
            raise ConfigError("need 0 <= lost_below <= uncertain_below <= reacquired_above <= 1")
        if self.lost_after_frames < 1:
            raise ConfigError(f"lost_after_frames = {self.lost_after_frames} must be at least 1")


@dataclass(frozen=True)
class ConfidenceModel:
    """Probability that the box is right (IoU > 0.5), by logistic regression.

    1 / (1 + exp(-(bias + peak * p + log_psr * ln(1 + psr)))), with p the response peak; the label's is 1.
    """

    bias: float
    peak: float
    log_psr: float

    def __call__(self, peak: float, psr: float) -> float:
        """Confidence, 0 to 1; 0 for values that are not finite."""
        if not (math.isfinite(peak) and math.isfinite(psr)):
            return 0.0
        exponent = self.bias + self.peak * peak + self.log_psr * math.log1p(max(psr, 0.0))
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, exponent))))


class StateMachine:
    """tracking <-> uncertain -> lost -> reacquired -> tracking."""

    def __init__(self, config: ConfidenceConfig) -> None:
        self.config = config
        self.state = TrackState.TRACKING
        self._low_frames = 0

    def update(self, confidence: float) -> TrackState:
        """The state after a frame of this confidence."""
        config = self.config
        self._low_frames = self._low_frames + 1 if confidence < config.lost_below else 0
        if self.state is TrackState.LOST:
            if confidence >= config.reacquired_above:
                self.state = TrackState.REACQUIRED
        elif self._low_frames >= config.lost_after_frames:
            self.state = TrackState.LOST
        elif confidence < config.uncertain_below:
            self.state = TrackState.UNCERTAIN
        else:
            self.state = TrackState.TRACKING
        return self.state

    @property
    def may_learn(self) -> bool:
        """Whether the tracker may update its model with this frame."""
        return self.state in (TrackState.TRACKING, TrackState.REACQUIRED)
