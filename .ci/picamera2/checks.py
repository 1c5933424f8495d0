"""What `cfvgg-edge` must do on the virtual camera: run by .ci/picamera2-check.

Prints a paragraph for each run, and fails at the first thing that does not hold.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import numpy as np
from clip import ORDER, STILL_PICTURES, read_truth
from runs import CAPTURE_TIMEOUT_S, FRAMES_PER_PICTURE, LAP_FRAMES, Outcome, Place, run

from edge_runtime.evaluation import iou

SCHEMA = json.loads(Path("edge_runtime/track-v1.schema.json").read_text(encoding="utf-8"))
LEAST_IOU = 0.5
NETWORK = ("--preset", "feco", "--bundle", "/opt/bundle", "--dtype", "int8")
PACKAGES = ("cfvgg", "picamera2", "numpy", "opencv_python_headless", "ai_edge_litert")


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_records(outcome: Outcome, place: Place, hangs: int = 0) -> None:
    """Every record against the schema; numbers and times of frames."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for record in outcome.records:
        validator.validate(record)
    assert "Traceback" not in outcome.log, outcome.log
    frames = np.array([record["frame"] for record in outcome.records])
    times_s = np.array([record["t_monotonic_ns"] for record in outcome.records]) / 1e9
    assert (np.diff(frames) > 0).all(), frames
    assert (np.diff(times_s) > 0).all(), times_s
    periods = np.median(np.diff(times_s) / np.diff(frames)) * place.rate_hz
    assert 0.8 < periods < 1.6, periods
    assert outcome.log.count("opening it again") == hangs, outcome.log
    assert min(outcome.ages_s) >= 0, min(outcome.ages_s)
    assert np.median(outcome.ages_s) < 0.2 * place.patience, np.median(outcome.ages_s)
    assert np.abs(outcome.unix_off_s).max() < 0.01 * place.patience, outcome.unix_off_s


def check_track(name: str, outcome: Outcome, place: Place) -> None:
    """It followed one target, by the truth of the picture that was in each record's frame."""
    assert len(outcome.pictures) == len(outcome.records)
    truth = np.array(read_truth(place.root / "opt/truth.txt"))
    tracked = [record for record in outcome.records if record["box"]]
    expected = truth[[p for r, p in zip(outcome.records, outcome.pictures, strict=True) if r["box"]]]
    shared = iou(np.array([record["box"] for record in tracked]), expected)
    frames = outcome.records[-1]["frame"] - outcome.records[0]["frame"] + 1
    span_s = (outcome.records[-1]["t_monotonic_ns"] - outcome.records[0]["t_monotonic_ns"]) / 1e9
    states = Counter(record["state"] for record in outcome.records)
    ages_ms = np.array(outcome.ages_s) * 1e3
    say(
        f"{name}: {len(outcome.records)} records of {frames} frames in {span_s:.1f} s, all valid; "
        f"exit code 0 after SIGTERM\n"
        f"  states: {', '.join(f'{state} {count}' for state, count in states.items())}\n"
        f"  {len(set(outcome.pictures))} of {len(ORDER)} pictures seen; IoU with the truth from frame "
        f"{tracked[0]['frame']} on: mean {shared.mean():.3f}, above 0.5 in {(shared > 0.5).mean():.1%}\n"
        f"  time stamp to record on the socket: p50 {np.percentile(ages_ms, 50):.1f} ms, "
        f"p95 {np.percentile(ages_ms, 95):.1f} ms, most {ages_ms.max():.1f} ms\n"
        f"  resident: {outcome.memory_mb[0]:.1f} MB after a third, {outcome.memory_mb[1]:.1f} MB at the end"
    )
    assert outcome.pictures[len(outcome.records) - len(tracked)] < STILL_PICTURES, "it started too late"
    assert shared.mean() > LEAST_IOU, shared
    assert len({record["track_id"] for record in tracked}) == 1
    # Never back; the first of an opening follows the last of a lap.
    assert (np.diff(outcome.pictures) % len(ORDER)).max() < len(ORDER) / 2, outcome.pictures


def check_reopened(outcome: Outcome, place: Place) -> None:
    """The camera hung after a lap; it was opened again, and the same target tracked on."""
    times_s = np.array([record["t_monotonic_ns"] for record in outcome.records]) / 1e9
    hung = int(np.diff(times_s).argmax())
    before, after = outcome.records[hung], outcome.records[hung + 1]
    gap_s = times_s[hung + 1] - times_s[hung]
    say(
        f"  after frame {before['frame']} ({before['state']}) the camera hung; {gap_s:.2f} s later, "
        f"{place.capture_timeout_s:g} s of them capture_timeout_s, came the first of its second opening "
        f"({after['state']})"
    )
    assert gap_s < (CAPTURE_TIMEOUT_S + 10) * place.patience, gap_s
    assert outcome.records[-1]["state"] == "tracking", outcome.records[-1]


def check_doctor(place: Place) -> None:
    """The doctor finds the camera; it rightly misses other things in a root that was never set up."""
    answer = json.loads(place.ask("doctor", "--config", "/opt/settings.toml", "--json", expect=(0, 1)))
    found = {check["name"]: check for check in answer["checks"]}
    for name in ("camera", "libcamera"):
        say(f"doctor: {found[name]['state']} {name}: {found[name]['found']}")
    assert found["libcamera"]["state"] == "ok", found["libcamera"]
    assert found["libcamera"]["found"] == "lists cfvgg clip", found["libcamera"]


def describe(place: Place) -> None:
    """What runs."""
    site = next(place.root.glob("opt/cfvgg/lib/python3*/site-packages"))
    found = [p.name.removesuffix(".dist-info") for name in PACKAGES for p in site.glob(f"{name}-*.dist-info")]
    library = next(place.root.glob("usr/lib/*/libcamera.so.*.*.*")).name.removeprefix("libcamera.so.")
    system = (place.root / "etc/os-release").read_text().split('PRETTY_NAME="')[1].split('"')[0]
    under = f", emulated {os.environ['QEMU_CPU']}" if os.environ.get("QEMU_CPU") else ""
    say(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, {system}, {site.parent.name}{under}")
    say(f"libcamera {library}, {', '.join(found)}")
    say(f"{len(ORDER)} JPEGs, each for {FRAMES_PER_PICTURE} frames, paced at {place.rate_hz:g} Hz")


def main() -> None:
    """All runs in one root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--rate-hz", type=float, default=30.0)
    parser.add_argument("--start", type=int, default=90, help="frame in which the target is given")
    parser.add_argument("--frames", type=int, default=600, help="how long a run is followed")
    parser.add_argument("--patience", type=float, default=1.0, help="so many times as long may things take")
    parser.add_argument("--quick", action="store_true", help="only one run, with the network")
    given = parser.parse_args()
    place = Place(given.root, given.rate_hz, given.patience)
    place.write_settings()
    describe(place)
    if not given.quick:
        outcome = run(place, ["--preset", "kcf"], start=given.start, last=given.frames)
        check_records(outcome, place)
        check_track("kcf", outcome, place)
    hangs_after, last = (0, given.frames) if given.quick else (LAP_FRAMES, 2 * LAP_FRAMES)
    outcome = run(place, NETWORK, start=given.start, last=last, hangs_after=hangs_after)
    check_records(outcome, place, hangs=int(hangs_after > 0))
    check_track("feco int8", outcome, place)
    if given.quick:
        return
    check_reopened(outcome, place)
    say("status, at the end of that run:")
    say("".join(f"  {line}\n" for line in outcome.status.splitlines()).rstrip())
    check_doctor(place)


if __name__ == "__main__":
    main()
