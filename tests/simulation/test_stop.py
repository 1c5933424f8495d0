"""SIGTERM in the middle of a frame."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from tests.edge.service import Running, start, until
from tests.simulation.conftest import Measured
from tests.simulation.watching import Reader

__all__ = ["start"]  # a fixture

FRAME_S = 0.5
SLOW = f"""
import sys
from edge_runtime import launch
from edge_runtime.cli import main
from tests.edge.helpers import TemplateTracker
launch.tracker_for = lambda *_: TemplateTracker({FRAME_S})
main()
"""


def test_sigterm_in_the_middle_of_a_frame_ends_after_that_frame(
    start: Callable[..., Running], measured: Measured
) -> None:
    service = start("--box", "60,60,40,40", code=SLOW)
    until(service.frames, "the first frame")
    reader = Reader(service.runtime / "tracks.sock")
    until(lambda: len(reader.records) > 1, "a frame")
    # The next frame has begun, and takes half a second.
    time.sleep(FRAME_S / 4)
    before = len(reader.records)
    start_s = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    measured("SIGTERM in a frame of 0.5 s", "until the process ends, s", time.monotonic() - start_s, 15)
    assert reader.ended()
    assert reader.rest == b""
    written = service.records()
    # The frame in which it came is finished and recorded, in every place, and no other is begun. On a busy
    # machine it may have been the one after.
    assert before < len(reader.records) <= before + 2
    assert written[-len(reader.records) :] == reader.records
    assert service.text().splitlines()[-6].startswith(f"frames    {len(written)} of 320x240 px")
    assert list(service.runtime.iterdir()) == []
