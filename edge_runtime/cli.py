"""`cfvgg-edge`: the device's command line.

Commands import what they need when they run, so that `--help` answers at once even on a slow card.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_runtime.doctor.command import doctor
from edge_runtime.entry import run_app
from edge_runtime.errors import ConfigError, SourceError
from edge_runtime.installation.commands import service_app
from edge_runtime.trackers.presets import PRESETS

if TYPE_CHECKING:
    from edge_runtime.bundle import Bundle
    from edge_runtime.config import Config
    from edge_runtime.features import NetworkFeatures
    from edge_runtime.runner import ModelIdentity, Progress, StopSignals
    from edge_runtime.sources import FrameSource

INTERRUPTED = 130

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Track an object with a cfvgg bundle.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at settings.")
bundle_app = typer.Typer(no_args_is_help=True, help="Look at model bundles.")
app.add_typer(config_app, name="config")
app.add_typer(bundle_app, name="bundle")
app.add_typer(service_app, name="service")
app.command()(doctor)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file; options override it.")]
SettingOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in TOML.")
]


@app.command()
def run(
    *,
    config: ConfigOption = None,
    source: Annotated[
        str | None, typer.Option(help="Camera, stream, video, picture folder, or fake:.")
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Bundle folder from cfvgg-export.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, int8 or float32.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Tracker: {', '.join(PRESETS)}.")] = None,
    adapt: Annotated[str | None, typer.Option(help="To the target: off, background or blocking.")] = None,
    setting: SettingOption = None,
    box: Annotated[str | None, typer.Option(help="First box X,Y,W,H in pixels.")] = None,
    box_frame: Annotated[int | None, typer.Option(help="Frame, from 0, that the box belongs to.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Stop after so many; 0 for all.")] = None,
    tracks: Annotated[str | None, typer.Option(help="JSON lines; - for standard output.")] = None,
    video: Annotated[str | None, typer.Option(help="Annotated .mp4.")] = None,
    contact_sheet: Annotated[str | None, typer.Option(help="Contact sheet .png.")] = None,
    groundtruth: Annotated[
        str | None,
        typer.Option(help="groundtruth_rect*.txt (OTB) or groundtruth*.txt (GOT-10k)."),
    ] = None,
    device_name: Annotated[str | None, typer.Option(help="Name in the records.")] = None,
) -> None:
    """Track one target through a source and say how it went."""
    overrides: dict[str, Any] = {
        "source.uri": source,
        "source.max_frames": max_frames,
        "model.bundle": bundle,
        "model.dtype": dtype,
        "tracker.preset": preset,
        "adapt.mode": adapt,
        "target.box": _numbers(box),
        "target.frame": box_frame,
        "output.tracks": tracks,
        "output.video": video,
        "output.contact_sheet": contact_sheet,
        "evaluation.groundtruth": groundtruth,
        "device.name": device_name,
    }
    raise typer.Exit(_run(_configured(config, overrides, setting)))


@app.command()
def replay(
    recording: Annotated[str, typer.Argument(help="Video, picture folder, or fake:.")],
    *,
    config: ConfigOption = None,
    setting: SettingOption = None,
    box: Annotated[str | None, typer.Option(help="First box X,Y,W,H in pixels.")] = None,
    tracks: Annotated[str, typer.Option(help="JSON lines; - for standard output.")] = "-",
) -> None:
    """Track through a recording with the settings of a service, the same way each time.

    Every frame is tracked, time is the recording's, and the records hold nothing that differs from run to
    run. Adaptation in the background becomes one that the first frame waits for.
    """
    overrides: dict[str, Any] = {
        "source.uri": recording,
        "source.realtime": False,
        "source.loop": False,
        "target.box": _numbers(box),
        "output.tracks": tracks,
    }
    settings = _configured(config, overrides, setting)
    if settings.adapt.mode == "background":
        settings = _configured(config, overrides | {"adapt.mode": "blocking"}, setting)
    raise typer.Exit(_run(settings, reproducible=True))


@app.command()
def bench(
    *,
    config: ConfigOption = None,
    bundle: Annotated[str | None, typer.Option(help="Bundle folder from cfvgg-export.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Tracker: {', '.join(PRESETS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Of 30 frames for each model.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Measure the tracker with each model of the bundle, and remember the faster one for dtype = "auto"."""
    from edge_runtime.bench_command import run_bench

    overrides = {"model.bundle": bundle, "tracker.preset": preset}
    typer.echo(run_bench(_configured(config, overrides, None), rounds, as_json=as_json))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """What the running service does: frames, rate, targets, publishers, health."""
    import json

    from edge_runtime.status import screen

    found = _ask({"command": "status"})["status"]
    typer.echo(json.dumps(found) if as_json else screen(found))


@app.command()
def select(x: float, y: float, width: float, height: float) -> None:
    """Start a target on a box, in pixels of the frame."""
    _ask({"command": "select", "box": [x, y, width, height]})


@app.command()
def clear(
    track_id: Annotated[int | None, typer.Argument(help="Of one target; all without it.")] = None,
) -> None:
    """Give targets up."""
    _ask({"command": "clear"} if track_id is None else {"command": "clear", "track_id": track_id})


@app.command()
def pause() -> None:
    """Stop tracking; frames still flow."""
    _ask({"command": "pause"})


@app.command()
def resume() -> None:
    """Go on tracking after `pause`."""
    _ask({"command": "resume"})


@app.command()
def trax(
    *,
    config: ConfigOption = None,
    preset: Annotated[str | None, typer.Option(help=f"Tracker: {', '.join(PRESETS)}.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Bundle folder from cfvgg-export.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, int8 or float32.")] = None,
) -> None:
    """Track for a TraX client, such as the VOT toolkit, over standard input and output."""
    from edge_runtime.adapters.trax import serve_stdio
    from edge_runtime.config import load_config

    overrides = {"tracker.preset": preset, "model.bundle": bundle, "model.dtype": dtype}
    raise typer.Exit(serve_stdio(load_config(config, overrides)))


@app.command()
def preview(
    *,
    stdout: Annotated[
        bool, typer.Option("--stdout", help="Binary stream to standard output; commands from standard input.")
    ] = False,
    width: Annotated[int | None, typer.Option(help="Of the pictures, px.")] = None,
    quality: Annotated[int | None, typer.Option(help="Of the JPEGs, 10 to 95.")] = None,
    max_rate: Annotated[float | None, typer.Option(help="Most pictures a second.")] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw box and state into the pictures of --stdout.")
    ] = False,
) -> None:
    """Watch the running service, in this terminal or through ssh (cfvgg-export preview HOST)."""
    from edge_runtime.runtime_folder import runtime_folder

    wanted = {"width": width, "quality": quality, "max_rate_hz": max_rate, "overlay": overlay or None}
    request = {name: value for name, value in wanted.items() if value is not None}
    socket = runtime_folder() / "preview.sock"
    try:
        if stdout:
            from edge_runtime.preview.relay import relay

            relay(socket, request)
        else:
            from edge_runtime.preview.terminal import watch_in_terminal

            watch_in_terminal(socket, request)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


@app.command()
def evaluate(
    tracks: Annotated[Path, typer.Argument(help="Track records, JSON lines.")],
    groundtruth: Annotated[Path, typer.Argument(help="groundtruth_rect*.txt or groundtruth*.txt.")],
) -> None:
    """Score recorded tracks against ground truth."""
    from edge_runtime import evaluation
    from edge_runtime.records import read_boxes

    score = evaluation.evaluate(read_boxes(tracks), evaluation.read_groundtruth(groundtruth))
    typer.echo(f"success AUC        {score.success_auc:.4f}")
    typer.echo(f"precision at 20 px {score.precision_20px:.4f}")
    typer.echo(f"frames             {score.frames}")


@config_app.command("show")
def config_show(config: ConfigOption = None) -> None:
    """Print every setting as it would apply, as TOML."""
    from edge_runtime.config import load_config
    from edge_runtime.settings_file import to_toml

    typer.echo(to_toml(load_config(config)), nl=False)


@config_app.command("check")
def config_check(path: Annotated[Path, typer.Argument(help="TOML file.")]) -> None:
    """Check a configuration file."""
    from edge_runtime.config import load_config

    load_config(path)
    typer.echo(f"{path}: good")


@bundle_app.command("check")
def bundle_check(path: Annotated[Path, typer.Argument(help="Bundle folder.")]) -> None:
    """Verify a bundle: checksums, tensors, and what its models answer to a test pattern."""
    from edge_runtime.bundle import Bundle

    typer.echo("\n".join(_describe(Bundle.open(path))))


def main() -> None:
    """Entry point."""
    # One core: libraries that are loaded after this start no threads of their own.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        os.environ.setdefault(variable, "1")
    logging.basicConfig(format="cfvgg-edge: %(message)s")
    logging.getLogger("edge_runtime").setLevel(logging.INFO)
    run_app(app, "cfvgg-edge")


def _configured(path: Path | None, overrides: dict[str, Any], settings: list[str] | None) -> Config:
    """The file's settings under the options', --set last."""
    from edge_runtime.config import load_config
    from edge_runtime.settings_file import parse_assignment

    for text in settings or ():
        overrides = overrides | parse_assignment(text, "tracker.eco.samples=30")
    return load_config(path, overrides)


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    from edge_runtime.control import ask
    from edge_runtime.runtime_folder import runtime_folder

    return ask(runtime_folder() / "control.sock", request)


def _run(config: Config, *, reproducible: bool = False) -> int:
    from edge_runtime.adaptation.tracker import tracker_for
    from edge_runtime.features import configured_features
    from edge_runtime.outputs import Outputs
    from edge_runtime.runner import Run, StopSignals
    from edge_runtime.service import Service
    from edge_runtime.targets.targets import Targets

    with (
        StopSignals() as stop,
        _opened(config, stop, reproducible) as source,
        contextlib.ExitStack() as ending,
    ):
        stop.then(source.stop)
        run = Run(config, source, reproducible=reproducible)
        features = configured_features(config)
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
    return stop.exit_code


def _opened(config: Config, stop: StopSignals, reproducible: bool) -> FrameSource:
    from edge_runtime.sources import RecordedSource, ReplaySource, open_source

    source = open_source(config.source, lambda: stop.received is not None)
    if not reproducible:
        return source
    if not isinstance(source, RecordedSource):
        source.close()
        raise SourceError("is no recording", where=source.uri, fix="replay takes a video or a folder")
    return ReplaySource(source)


def _identity(config: Config, features: NetworkFeatures | None) -> ModelIdentity:
    """What to call the tracker and its network."""
    from edge_runtime.runner import ModelIdentity

    preset = config.tracker.preset
    if features is None:
        return ModelIdentity(f"{preset} without a network", None)
    manifest, dtype = features.bundle.manifest, features.dtype
    sha256 = manifest.models[dtype].sha256
    return ModelIdentity(f"{preset}, {manifest.name} {dtype}, sha256 {sha256[:12]}", sha256)


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


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--box {text!r} is not a box", fix="give X,Y,W,H in pixels") from error


def _describe(bundle: Bundle) -> list[str]:
    from edge_runtime.interpreter import Interpreter

    manifest = bundle.manifest
    lines: dict[str, Any] = {
        "bundle": f"{manifest.name} ({bundle.path})",
        "made from": manifest.source,
        "licence": manifest.licence,
        "created": f"{manifest.created_utc}, git {manifest.git_revision}",
        "network": f"{manifest.parameters} parameters, channels {manifest.network_channels}, "
        f"LRN {'yes' if manifest.lrn else 'no'}, mean {manifest.preprocessing.mean}",
    }
    for level in manifest.levels:
        lines[f"level {level.name}"] = f"stride {level.stride}, {level.channels} channels"
    for dtype, info in manifest.models.items():
        size = info.fingerprint.size_px
        interpreter = Interpreter(bundle.model(dtype), (1, size, size, 3))
        delegate = "one XNNPACK delegate" if interpreter.delegated else "no delegate for the whole graph"
        lines[dtype] = f"{info.bytes} bytes, sha256 {info.sha256[:12]}, {interpreter.runtime}, {delegate}"
        sqnr = ", ".join(f"{a.level} {a.sqnr_db:.1f} dB" for a in manifest.accuracy.get(dtype, ()))
        lines[f"{dtype} SQNR"] = sqnr or "not recorded"
    if manifest.calibration is not None:
        lines["calibrated on"] = f"{manifest.calibration.count} crops of {manifest.calibration.source}"
    lines["verdict"] = "good: checksums, tensors and test answers match"
    return [f"{name:<13} {value}" for name, value in lines.items()]
