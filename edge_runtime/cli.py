"""`cfvgg-edge`: the device's command line.

Commands import what they need when they run, so that `--help` answers at once even on a slow card.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_runtime.deployment.commands import bundle_app
from edge_runtime.doctor.command import doctor
from edge_runtime.entry import run_app
from edge_runtime.errors import ConfigError
from edge_runtime.installation.commands import service_app
from edge_runtime.remote import remote_app
from edge_runtime.trackers.presets import PRESETS

if TYPE_CHECKING:
    from edge_runtime.config import Config

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Track an object with a cfvgg bundle.",
)
config_app = typer.Typer(no_args_is_help=True, help="Look at settings.")
app.add_typer(config_app, name="config")
app.add_typer(bundle_app, name="bundle")
app.add_typer(service_app, name="service")
app.add_typer(remote_app)
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
    from edge_runtime.launch import launch

    raise typer.Exit(launch(_configured(config, overrides, setting)))


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
    from edge_runtime.launch import launch

    raise typer.Exit(launch(settings, reproducible=True))


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


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--box {text!r} is not a box", fix="give X,Y,W,H in pixels") from error
