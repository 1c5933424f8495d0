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
        uncertain_below: confidence under which a tracked target becomes uncertain.
        certain_above: confidence that a frame needs to end uncertainty.
        reacquired_above: confidence that a frame needs to end a loss.
        certain_after_frames: so many such frames in a row end it.
        lost_after_frames: frames of uncertainty until the target is lost.
        stay_below: confidence under which the target's place is not followed: the highest response of an
            empty picture is anywhere.
        learn_visible_share: share of the box inside the frame that a frame needs to be learned from; a
            filter that waits at the border would learn the background.
    """

    uncertain_below: float = 0.15
    certain_above: float = 0.3
    reacquired_above: float = 0.5
    certain_after_frames: int = 2
    lost_after_frames: int = 12
    stay_below: float = 0.002
    learn_visible_share: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.uncertain_below <= self.certain_above <= self.reacquired_above <= 1:
            raise ConfigError("need 0 <= uncertain_below <= certain_above <= reacquired_above <= 1")
        for name in ("stay_below", "learn_visible_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be from 0 to 1")
        for name in ("certain_after_frames", "lost_after_frames"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)} must be at least 1")


@dataclass(frozen=True)
class ConfidenceModel:
    """Probability that the target is there, from the response's peak-to-sidelobe ratio.

    Logistic in l = ln(1 + psr) and in its drop below the mean of l over the frames learned so far: a
    target that turns away loses ratio slowly, one that is covered or cut away at once. A filter that has
    learned the wrong thing answers as surely as one that has learned the right one, so this tells
    absence, occlusion and cuts, not drift.

    Attributes:
        psr_half: the ratio of confidence 0.5, when it is what it was on average.
        slope: weight of l.
        drop_slope: weight of the drop.
    """

    psr_half: float
    slope: float
    drop_slope: float

    def __call__(self, psr: float, mean_log: float) -> float:
        """Confidence, 0 to 1; 0 for a ratio that is not finite."""
        if not math.isfinite(psr):
            return 0.0
        log = log_ratio(psr)
        exponent = self.slope * (log - log_ratio(self.psr_half)) + self.drop_slope * (log - mean_log)
        return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, exponent))))


class RunningLog:
    """Mean of ln(1 + psr) over about the last `FRAMES` frames that were learned; starts at the first.

    Args:
        most: ratios above this count as this. A still picture answers with hundreds; measured against that,
            any motion would look like a loss.
    """

    FRAMES = 20

    def __init__(self, most: float = math.inf) -> None:
        self.mean, self._count = 0.0, 0
        self._most = most

    def before(self, psr: float) -> float:
        """The mean to hold `psr` against: the frame itself when it is the first."""
        return self.mean if self._count else log_ratio(psr)

    def add(self, psr: float) -> None:
        """Count a frame in."""
        self._count = min(self._count + 1, self.FRAMES)
        self.mean += (log_ratio(min(psr, self._most)) - self.mean) / self._count


def log_ratio(psr: float) -> float:
    """ln(1 + psr), 0 for what is not positive or not finite."""
    return math.log1p(psr) if math.isfinite(psr) and psr > 0 else 0.0


class StateMachine:
    """tracking <-> uncertain -> lost -> reacquired -> tracking."""

    def __init__(self, config: ConfidenceConfig) -> None:
        self.config = config
        self.state = TrackState.TRACKING
        self._uncertain_frames = 0
        self._certain_frames = 0

    def update(self, confidence: float) -> TrackState:
        """The state after a frame of this confidence."""
        config = self.config
        lost = self.state is TrackState.LOST
        certain = confidence >= (config.reacquired_above if lost else config.certain_above)
        self._certain_frames = self._certain_frames + 1 if certain else 0
        if self.may_learn and confidence >= config.uncertain_below:
            self._enter(TrackState.TRACKING)
        elif self._certain_frames >= config.certain_after_frames:
            self._enter(TrackState.REACQUIRED if lost else TrackState.TRACKING)
        else:
            self._uncertain_frames += 1
            over = self._uncertain_frames >= config.lost_after_frames
            self.state = TrackState.LOST if over else TrackState.UNCERTAIN
        return self.state

    @property
    def may_learn(self) -> bool:
        """Whether the tracker may update its model with this frame."""
        return self.state in (TrackState.TRACKING, TrackState.REACQUIRED)

    def _enter(self, state: TrackState) -> None:
        self.state, self._uncertain_frames = state, 0
