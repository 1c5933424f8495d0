"""A tracker on a made-up camera that speaks to systemd, until `cfvgg-edge run` does so itself.

Started as `stand_in.py run --config FILE` in the test's system only (system_checks.py).
"""

from __future__ import annotations

import itertools
import json
import logging
import signal
import time
from pathlib import Path
from types import FrameType

import typer

from edge_runtime.config import load_config
from edge_runtime.entry import run_app
from edge_runtime.errors import SourceError
from edge_runtime.notify import Notifier
from edge_runtime.sources import FakeSource
from edge_runtime.trackers import build_tracker

RATE_HZ = 30.0
stopping = False


def stop(number: int, frame: FrameType | None) -> None:
    global stopping  # noqa: PLW0603 (a signal handler has nothing else)
    stopping = True


def run(config: Path) -> None:
    settings = load_config(config)
    if not settings.source.uri:
        raise SourceError("no source is given")
    tracker, source, notifier = build_tracker(settings), FakeSource(), Notifier()
    log = logging.getLogger("edge_runtime")
    with Path(settings.output.tracks).open("a") as records:
        tracker.init(source.image(0), source.box(0))
        notifier.ready("tracking")
        log.info("tracking, watchdog %s s", notifier.watchdog_s)
        for index in itertools.count(1):
            result = tracker.update(source.image(index))
            records.write(json.dumps({"frame": index, "box": list(result.box)}) + "\n")
            records.flush()
            notifier.frame()
            if stopping:
                break
            time.sleep(1 / RATE_HZ)
    notifier.stopping()
    log.info("stopped after %d frames", index)


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    logging.basicConfig(format="cfvgg-edge: %(message)s")
    logging.getLogger("edge_runtime").setLevel(logging.INFO)
    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("run")(run_command)
    run_app(app, "cfvgg-edge")


def run_command(config: Path = typer.Option(...)) -> None:  # noqa: B008 (how typer has it)
    run(config)


if __name__ == "__main__":
    main()
