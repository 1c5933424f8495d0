"""Fuzzed: settings in files and on the command line, records and ground truth read back, manifests."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.fuzz.outcome import Target, refusing
from edge_runtime.config import load_config
from edge_runtime.errors import BundleError, ConfigError, SourceError
from edge_runtime.evaluation import evaluate, read_groundtruth
from edge_runtime.host import HostStatus
from edge_runtime.manifest import MANIFEST_FILE, Manifest
from edge_runtime.records import RecordMaker, read_boxes
from edge_runtime.settings_file import parse_assignment, to_toml
from edge_runtime.sources.base import CapturedFrame
from edge_runtime.sources.fake import FakeSource
from edge_runtime.types import TrackResult, TrackState

REFERENCE = Path(__file__).parents[2] / "systemd" / "cfvgg.toml"
TRUTH = b"1,2,30,40\n3\t4\t30\t40\nNaN,NaN,NaN,NaN\n5 6 30 40\n"


def settings_file(folder: Path) -> Target:
    """`load_config` of a file; what it accepts must come back the same from what `config show` prints."""
    path, shown = folder / "config.toml", folder / "shown.toml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        with refusing(ConfigError):
            config = load_config(path)
            shown.write_text(to_toml(config), encoding="utf-8")
            # By their text: nan is not equal to itself.
            assert repr(load_config(shown)) == repr(config), "config show does not read back"

    lines = REFERENCE.read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if line.strip() and not line.startswith("#"))
    tables = [f"[{part}" for part in text.split("\n[")[1:]]
    return Target(check, (text.encode(), *(table.encode() for table in tables)))


def assignment(_: Path) -> Target:
    """`--set KEY=VALUE`, several of them, one a line."""

    def check(data: bytes) -> None:
        with refusing(ConfigError):
            overrides: dict[str, object] = {}
            # Arguments are bytes that Python decodes so.
            for text in data.decode("utf-8", "surrogateescape").split("\n"):
                overrides |= parse_assignment(text, "tracker.eco.samples=30")
            load_config(None, overrides)

    seeds = (
        *(b"tracker.preset=kcf", b"target.box=[1,2,30,40]", b'source.uri="fake:"', b"udp.host=192.168.1.2"),
        *(b"tracker.eco.features=['hog', 'cn']", b"source={uri='x', width=64}", b"preview.enabled=false"),
        b"tracker.kcf.feature=cnn:high\ntracker.kcf.kernel_sigma=0.5\ntarget.search.windows=3",
    )
    return Target(check, seeds)


def records(folder: Path) -> Target:
    """`read_boxes`, and the score of what it has read."""
    path, truth_path = folder / "tracks.jsonl", folder / "groundtruth_rect.txt"
    truth_path.write_bytes(TRUTH)
    truth = read_groundtruth(truth_path)

    def check(data: bytes) -> None:
        path.write_bytes(data)
        with refusing(SourceError):
            evaluate(read_boxes(path), truth)

    source, make = FakeSource(), RecordMaker("pi", "ab" * 32)
    lines = []
    for index in range(3):
        frame = CapturedFrame(source.image(index), index, index * 33_000_000, None)
        result = TrackResult(source.box(index), 0.9, 12.5, TrackState.TRACKING, 7.1)
        lines.append(make(frame, result if index else None, HostStatus(True, 0)).to_json().encode() + b"\n")
    return Target(check, (b"".join(lines), lines[0], lines[1]))


def groundtruth(folder: Path) -> Target:
    """`read_groundtruth` of both conventions."""
    paths = [folder / name for name in ("groundtruth_rect.1.txt", "groundtruth.txt")]

    def check(data: bytes) -> None:
        for path in paths:
            path.write_bytes(data)
            with refusing(SourceError):
                read_groundtruth(path)

    return Target(check, (TRUTH, b"10,20,30,40\n"))


def manifest(_: Path, bundle: Path) -> Target:
    """`Manifest.from_json`; what it accepts must come back the same from its own JSON."""

    def check(data: bytes) -> None:
        with refusing(BundleError):
            found = Manifest.from_json(data.decode(errors="replace"), "manifest.json")
            assert repr(Manifest.from_json(found.to_json(), "again")) == repr(found), "does not read back"

    return Target(check, (short_manifest(bundle),))


def short_manifest(bundle: Path) -> bytes:
    """A bundle's manifest without what makes it long."""
    data = json.loads((bundle / MANIFEST_FILE).read_text())
    if data["calibration"]:
        data["calibration"]["input_means"] = {"conv1": [120.5, 110, 100]}
    data["provenance"] = {"seed": 1}
    return json.dumps(data, indent=1).encode()
