"""Settings of targets: where the first one comes from, and how a lost one is found again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from edge_runtime.settings_file import require


@dataclass(frozen=True)
class SearchConfig:
    """Looking for a lost target over the whole frame, see `edge_runtime.targets.search`.

    Attributes:
        windows: windows that are looked at in a frame, beside the one at the target's last place; 0 looks
            only there.
        stride: distance of neighbouring windows over the target's width (height).
        found_above: confidence, 0 to 1, that a window needs for the target to be tried there.
    """

    windows: int = 1
    stride: float = 1.0
    found_above: float = 0.5

    def __post_init__(self) -> None:
        require("target.search.windows", self.windows, 0 <= self.windows <= 64, "0 (none) to 64")
        require("target.search.stride", self.stride, 0.25 <= self.stride <= 4, "0.25 to 4")
        require("target.search.found_above", self.found_above, 0 <= self.found_above <= 1, "0 to 1")


@dataclass(frozen=True)
class MotionConfig:
    """What counts as something that moves, see `edge_runtime.targets.motion`.

    Attributes:
        least_area_share, most_area_share: of the frame, between which its box lies.
        frames: so many in a row it must be seen in.
        warm_up_frames: from which the background is learned first.
        margin: by which its box grows on every side, over its width (height).
    """

    least_area_share: float = 0.001
    most_area_share: float = 0.25
    frames: int = 5
    warm_up_frames: int = 30
    margin: float = 0.0

    def __post_init__(self) -> None:
        least, most = self.least_area_share, self.most_area_share
        require("target.motion.least_area_share", least, 0 < least <= 1, "above 0, up to 1")
        require("target.motion.most_area_share", most, least < most <= 1, "above least_area_share, up to 1")
        require("target.motion.frames", self.frames, 1 <= self.frames <= 1000, "1 to 1000")
        warm_up = self.warm_up_frames
        require("target.motion.warm_up_frames", warm_up, 1 <= warm_up <= 10000, "1 to 10000")
        require("target.motion.margin", self.margin, 0 <= self.margin <= 1, "0 to 1")


@dataclass(frozen=True)
class TargetConfig:
    """Which targets there are.

    Attributes:
        box: of the first one, x,y,w,h in pixels; empty for none. Without one, that of the ground truth is
            taken, if there is any.
        frame: index, from 0, of the frame that it belongs to; before it, frames are `searching`.
        start: what starts a target where there is neither: "command" waits for one, "motion" takes the
            largest thing that moves.
        most: how many are tracked at the same time.
        max_lost_s: after so many seconds a lost target is given up; 0 never.
    """

    box: tuple[float, ...] = ()
    frame: int = 0
    start: Literal["command", "motion"] = "command"
    most: int = 1
    max_lost_s: float = 0.0
    search: SearchConfig = field(default_factory=SearchConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)

    def __post_init__(self) -> None:
        require("target.box", list(self.box), len(self.box) in (0, 4), "four numbers x,y,w,h in pixels")
        require("target.frame", self.frame, self.frame >= 0, "0 or more")
        require("target.most", self.most, 1 <= self.most <= 16, "1 to 16")
        require("target.max_lost_s", self.max_lost_s, self.max_lost_s >= 0, "0 (never) or more")
