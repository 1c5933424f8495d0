"""Makes docs/preview.jpg: the page while a real tracker follows the composed clip of `make demo`.

python -m tests.preview.picture demo/bundle demo/synthetic-clip docs/preview.jpg
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from pathlib import Path

from edge_runtime.config import load_config
from edge_runtime.evaluation import read_groundtruth
from edge_runtime.host import HostStatus
from edge_runtime.preview.server import Preview
from edge_runtime.preview.settings import PreviewConfig
from edge_runtime.records import RecordMaker
from edge_runtime.sources import VideoSource
from edge_runtime.trackers import build_tracker
from export.preview.link import Link
from export.preview.pages import PageServer
from tests.preview.browser import Chromium
from tests.preview.helpers import EDGE, Commands, wait_for

SHOWN_FRAME = 285
MOST_BYTES = 120_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bundle", "clip", "picture"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    config = load_config(None, {"tracker.preset": "feco", "model.bundle": str(arguments.bundle)})
    with tempfile.TemporaryDirectory() as name, VideoSource(arguments.clip / "clip.avi") as source:
        folder = Path(name)
        os.environ["CFVGG_RUNTIME_DIR"] = name
        preview = Preview(folder / "preview.sock", PreviewConfig(), Commands())
        link = Link([*EDGE, "preview", "--stdout"], "pi")
        link.wait_connected()
        pages, chromium = PageServer(link), Chromium(folder)
        tracker, make_record = build_tracker(config), RecordMaker("pi", None)
        box = read_groundtruth(arguments.clip / "groundtruth.txt").box(0)
        assert box is not None
        latencies_ms = []
        for frame in source:
            if frame.index == 0:
                tracker.init(frame.image, box)
                continue
            result = tracker.update(frame.image)
            latencies_ms.append(result.latency_ms)
            if frame.index == SHOWN_FRAME:
                break
        usual_ms = statistics.median(latencies_ms)
        result = dataclasses.replace(result, latency_ms=usual_ms)
        with chromium.page(pages.url) as page:
            page.resize(1160, 690)

            def shown() -> bool:
                now = dataclasses.replace(frame, t_monotonic_ns=time.monotonic_ns())
                preview.offer(frame.image, [make_record(now, result, HostStatus(True, 0))], 1e3 / usual_ms)
                return bool(page.evaluate("view.record !== null") and page.text("dropped") == "4")

            wait_for(shown, "the picture")
            page.evaluate("canvas.blur()")
            shots = (page.screenshot(quality) for quality in range(90, 20, -5))
            arguments.picture.write_bytes(next(shot for shot in shots if len(shot) < MOST_BYTES))
        chromium.close()
        pages.close()
        link.close()
        preview.close()


if __name__ == "__main__":
    main()
