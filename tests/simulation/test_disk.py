"""The disk fills up under the records, and has room again."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.publishers.queued import BATCH_RECORDS, QUEUE_RECORDS
from tests.edge.publishing import disk_of, fill
from tests.edge.service import LIVE, Running, start, until
from tests.simulation.conftest import Measured
from tests.simulation.watching import Reader

__all__ = ["start"]  # a fixture

RATE_HZ = 250  # nothing is tracked: a queue of records is full in four seconds


def test_a_full_disk_costs_what_does_not_fit_into_the_queue(
    start: Callable[..., Running], tmp_path: Path, measured: Measured
) -> None:
    with disk_of(tmp_path / "disk", "16m") as disk:
        tracks = disk / "tracks.jsonl"
        service = start("--set", f'output.tracks="{tracks}"', uri=f"{LIVE}&rate_hz={RATE_HZ}")
        until(service.frames, "the first frame")
        reader = Reader(service.runtime / "tracks.sock")

        def file() -> dict[str, int]:
            counts: dict[str, int] = service.status()["publishers"]["file"]
            return counts

        until(lambda: file()["sent"] > 0, "records in the file")
        fill(disk / "filler")
        full_at = reader.records[-1]["frame"]
        until(lambda: file()["dropped"] > 0, "records that are lost")
        fits = file()["sent"]
        (disk / "filler").unlink()
        start_s = time.monotonic()
        until(lambda: file()["sent"] > fits, "records in the file again")
        measured("disk full", "until records are written again, s", time.monotonic() - start_s, 20)
        free_at = reader.records[-1]["frame"]
        assert service.end() == 0
        assert reader.ended()
        service.tracks = tracks
        written = [record["frame"] for record in service.records()]
    frames = [record["frame"] for record in reader.records]
    assert written == sorted(set(written))
    lost = set(frames) - set(written)
    meanwhile = sum(full_at <= frame <= free_at for frame in frames)
    assert lost
    measured("disk full", "records lost", len(lost), max(0, meanwhile - QUEUE_RECORDS) + BATCH_RECORDS)
    gap = max(b - a for a, b in itertools.pairwise(frames))
    measured("disk full", "longest gap in the loop, s", gap / RATE_HZ, 1.0)
    assert "Traceback" not in service.text()
    assert service.text().count("No space left") <= 2
