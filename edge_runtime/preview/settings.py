"""Settings of the preview, the table `[preview]`."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.settings_file import require

LEAST_WIDTH_PX, MOST_WIDTH_PX = 64, 3840
LEAST_RATE_HZ = 0.1


@dataclass(frozen=True)
class PreviewConfig:
    """What watchers get.

    Attributes:
        enabled: whether the service listens for watchers at all.
        width_px: of the picture, unless a watcher asks for another; never more than the camera's.
        quality: of the JPEG, unless a watcher asks for another.
        max_rate_hz: most pictures a second that a watcher gets, whatever it asks for.
        max_watchers: most connections at a time.
        stall_timeout_s: a watcher that takes nothing for so long is cut off.
        nice: priority of the thread that scales and encodes, 0 (as the tracker's) to 19 (the lowest).
    """

    enabled: bool = True
    width_px: int = 640
    quality: int = 75
    max_rate_hz: float = 15.0
    max_watchers: int = 4
    stall_timeout_s: float = 5.0
    nice: int = 10

    def __post_init__(self) -> None:
        bounds = {
            "width_px": (LEAST_WIDTH_PX <= self.width_px <= MOST_WIDTH_PX, "64 to 3840"),
            "quality": (10 <= self.quality <= 95, "10 to 95"),
            "max_rate_hz": (LEAST_RATE_HZ <= self.max_rate_hz <= 120, "0.1 to 120"),
            "max_watchers": (1 <= self.max_watchers <= 64, "1 to 64"),
            "stall_timeout_s": (0.1 <= self.stall_timeout_s <= 3600, "0.1 to 3600"),
            "nice": (0 <= self.nice <= 19, "0 to 19"),
        }
        for name, (good, expected) in bounds.items():
            require(f"preview.{name}", getattr(self, name), good, expected)
