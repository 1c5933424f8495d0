"""A tracker in the form that the GOT-10k toolkit's experiments run: RGB in, boxes x, y, w, h out."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.adapters.pictures import to_frame
from edge_runtime.errors import BoxError, DependencyError, SourceError
from edge_runtime.sources.folder import read_picture
from edge_runtime.types import Tracker, check_box

FloatRows = NDArray[np.float64]
TOOLKIT = "got10k"


class Got10kTracker:
    """The members of the toolkit's `Tracker`; it need not be installed. See also `got10k_tracker`.

    Attributes:
        name: folder name of the results.
        is_deterministic: whether one repetition of an experiment is enough.
        tracker: what does the work.
    """

    def __init__(self, name: str, tracker: Tracker, is_deterministic: bool = True) -> None:
        self.name, self.is_deterministic = name, is_deterministic
        self.tracker = tracker
        self._started = False

    def init(self, image: Any, box: Sequence[float] | FloatRows) -> None:
        """Start, or start again, on x, y, w, h (0-based pixels) in an RGB `PIL.Image` or uint8 array.

        Raises:
            BoxError: the box is unusable; the tracker is then not started.
            SourceError: the image is not a picture.
        """
        self._started = False
        frame = to_frame(image, "RGB", f"{self.name}.init")
        self.tracker.init(frame, check_box(box, frame.shape))
        self._started = True

    def update(self, image: Any) -> FloatRows:
        """x, y, w, h of the target in the next RGB image: float64 (4,), 0-based pixels.

        Raises:
            BoxError: there was no `init`.
            SourceError: the image is not a picture, or its size changed.
        """
        if not self._started:
            raise BoxError("there is no target yet", where=f"{self.name}.update", fix="call init first")
        return np.array(self.tracker.update(to_frame(image, "RGB", f"{self.name}.update")).box)

    def forward_test(
        self, frames: Sequence[str | Path], box: Sequence[float] | FloatRows, visualize: bool = False
    ) -> tuple[FloatRows, FloatRows]:
        """Track through picture files from `box` in the first one.

        Args:
            frames: paths, in order.
            box: x, y, w, h in the first frame, 0-based pixels.
            visualize: show every frame with its box, as the toolkit does.

        Returns:
            boxes: float64 (frames, 4), the first one as given.
            times: float64 (frames,), seconds inside the tracker, reading files left out.

        Raises:
            SourceError: there is no frame, one cannot be read, or their size changes.
            BoxError: the box is unusable.
            DependencyError: `visualize` without the toolkit.
        """
        if not frames:
            raise SourceError("there are no frames", where=f"{self.name}.forward_test")
        show = _toolkit_display() if visualize else None
        boxes, times_s = np.zeros((len(frames), 4)), np.zeros(len(frames))
        boxes[0] = box
        for number, path in enumerate(frames):
            image = np.ascontiguousarray(read_picture(Path(path))[..., ::-1])
            start_s = time.perf_counter()
            if number == 0:
                self.init(image, box)
            else:
                boxes[number] = self.update(image)
            times_s[number] = time.perf_counter() - start_s
            if show is not None:
                show(image[..., ::-1], boxes[number])  # it takes arrays as BGR
        return boxes, times_s

    # Release 0.1.3 of the toolkit, the latest, calls it by this name.
    track = forward_test


def got10k_tracker(name: str, tracker: Tracker, is_deterministic: bool = True) -> Got10kTracker:
    """A `Got10kTracker` that is also an instance of the toolkit's `Tracker` when that is installed."""
    if importlib.util.find_spec(TOOLKIT) is None:
        return Got10kTracker(name, tracker, is_deterministic)
    base = importlib.import_module(f"{TOOLKIT}.trackers").Tracker
    made: Got10kTracker = type("Got10kTracker", (Got10kTracker, base), {})(name, tracker, is_deterministic)
    return made


def _toolkit_display() -> Any:
    if importlib.util.find_spec(TOOLKIT) is None:
        raise DependencyError("showing frames needs the GOT-10k toolkit", fix=f"pip install {TOOLKIT}")
    return importlib.import_module(f"{TOOLKIT}.utils.viz").show_frame
