"""What `cfvgg-edge run` and `replay` do: a source, a tracker and outputs, put together and run."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

from edge_runtime import features as networks
from edge_runtime.adaptation.tracker import tracker_for
from edge_runtime.config import Config
from edge_runtime.errors import SourceError
from edge_runtime.features import NetworkFeatures
from edge_runtime.host import keep_memory_small
from edge_runtime.outputs import Outputs
from edge_runtime.runner import ModelIdentity, Progress, Run, StopSignals
from edge_runtime.service import Service
from edge_runtime.sources import FrameSource, RecordedSource, ReplaySource, open_source
from edge_runtime.targets.targets import Targets


def launch(config: Config, *, reproducible: bool = False) -> int:
    """Track until the source ends or a signal comes, print how it went, and return the exit status.

    Args:
        reproducible: for recordings; time is theirs, and nothing else differs from run to run.

    Raises:
        CfvggError: of any kind; what has been written so far is kept.
    """
    keep_memory_small()
    with StopSignals() as stop:
        try:
            _launch(config, stop, reproducible)
        except SourceError:
            # A camera that had not given a frame yet when it was told to stop is no failure.
            if stop.received is None:
                raise
        return stop.exit_code


def _launch(config: Config, stop: StopSignals, reproducible: bool) -> None:
    with _opened(config, stop, reproducible) as source, contextlib.ExitStack() as ending:
        stop.then(source.stop)
        run = Run(config, source, reproducible=reproducible)
        features = networks.configured_features(config)
        targets = Targets(config.target, lambda: tracker_for(config, features), run.first)
        ending.callback(targets.close)
        model, service = _identity(config, features), None
        if source.live:
            service = Service(config, source, targets, model)
            ending.callback(service.close)
        outputs = service.outputs if service is not None else Outputs(config)
        with _progress() as progress:
            summary = run(targets, outputs, model, stop=stop, progress=progress, beside=service)
    typer.echo(summary.text(), err=config.output.tracks == "-")


def _opened(config: Config, stop: StopSignals, reproducible: bool) -> FrameSource:
    # A person wants to hear at once that there is no camera. systemd would start the service again, but not
    # for ever, so there it is waited for.
    patient = "NOTIFY_SOCKET" in os.environ
    source = open_source(config.source, lambda: stop.received is not None, patient)
    if not reproducible:
        return source
    if not isinstance(source, RecordedSource):
        source.close()
        raise SourceError("is no recording", where=source.uri, fix="replay takes a video or a folder")
    return ReplaySource(source)


def _identity(config: Config, features: NetworkFeatures | None) -> ModelIdentity:
    """What to call the tracker and its network."""

    preset = config.tracker.preset
    if features is None:
        return ModelIdentity(f"{preset} without a network", None)
    manifest, dtype = features.bundle.manifest, features.dtype
    sha256 = manifest.models[dtype].sha256
    label = f"{preset}, {manifest.name} {dtype}, sha256 {sha256[:12]}"
    return ModelIdentity(label, sha256, features.bundle.path)


@contextlib.contextmanager
def _progress() -> Iterator[Progress | None]:
    """A line that counts frames, only for someone who watches."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield lambda done, total: typer.echo(
            f"\rframe {done}{f'/{total}' if total else ''}", err=True, nl=False
        )
    finally:
        typer.echo(err=True)
