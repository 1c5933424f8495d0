"""What `cfvgg-edge bench` prints."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import asdict

import typer

from edge_runtime.bench import Speed, measure, processor, remember
from edge_runtime.config import Config
from edge_runtime.features import NetworkFeatures, configured_features
from edge_runtime.trackers import make_tracker


def run_bench(config: Config, rounds: int, *, as_json: bool) -> str:
    """Measure, remember, and say what was found.

    Raises:
        ConfigError, BundleError, InterpreterError: the tracker or its models cannot be made.
        StorageError: the result cannot be remembered.
    """
    features = configured_features(config)
    networks: dict[str, NetworkFeatures | None] = {"no network": None}
    if features is not None:
        bundle = features.bundle
        networks = {dtype: NetworkFeatures(bundle, dtype) for dtype in bundle.manifest.models}
    size = (config.source.width, config.source.height)
    make = functools.partial(make_tracker, config)
    speeds = measure(make, networks, size, rounds, _progress if sys.stderr.isatty() else _quiet)
    chosen = remember(features.bundle, config.tracker.preset, speeds) if features is not None else None
    if as_json:
        figures = {name: asdict(speed) for name, speed in speeds.items()}
        about = {"processor": processor(), "preset": config.tracker.preset, "frame_size": size}
        return json.dumps(about | {"speeds": figures, "chosen": chosen})
    return "\n".join(_lines(config, size, speeds, chosen))


def _lines(config: Config, size: tuple[int, int], speeds: dict[str, Speed], chosen: str | None) -> list[str]:
    lines = [f"processor   {processor()}", f"tracker     {config.tracker.preset}, {size[0]}x{size[1]} px"]
    for name, speed in speeds.items():
        rate = f"{1e3 / speed.p50_ms:.0f} frames a second"
        lines.append(f"{name:<11} p50 {speed.p50_ms:.1f} ms, p95 {speed.p95_ms:.1f} ms, {rate}")
    if chosen is not None:
        lines.append(f'chosen      {chosen}, for model.dtype = "auto"')
    return lines


def _quiet(done: int, total: int) -> None:
    """Nobody watches."""


def _progress(done: int, total: int) -> None:
    typer.echo(f"\rround {done}/{total}" + ("\n" if done == total else ""), err=True, nl=False)
