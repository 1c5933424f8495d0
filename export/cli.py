"""`cfvgg-export`: weights to a checked bundle; `distill`: photos to weights; `flops`; `preview` of a device.

`deploy` and what belongs to it are in `export/deploy/commands.py`.

Commands import what they need when they run: torch takes seconds and `--help` should not.
"""

# ruff: noqa: PLC0415, PLR0917

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edge_runtime.entry import run_app
from edge_runtime.errors import ConfigError, WeightsError
from export.deploy.commands import deploy_app
from export.options import HostArgument, RemoteCommandOption, SshOption
from export.session import session

if TYPE_CHECKING:
    from export.checkpoints import Student

SHIPPED_WEIGHTS = "weights/cfvgg-x64.safetensors"
T = TypeVar("T", int, float)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
app.add_typer(deploy_app)


@app.callback(invoke_without_command=True)
def export(
    context: typer.Context,
    int8: Annotated[bool, typer.Option("--int8", help="Also write the int8 model.")] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Student .safetensors or MatConvNet .mat; default: the shipped student."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Bundle folder; a bundle that is there is replaced.")] = Path(
        "bundle"
    ),
    calibration: Annotated[
        Path | None, typer.Option(help="Folder of photos or videos; default: packaged pictures.")
    ] = None,
    crops: Annotated[int, typer.Option(min=1, help="Calibration crops.")] = 200,
    sizes: Annotated[str, typer.Option(help="Input sizes to check, px.")] = "129,200,224",
    min_sqnr_db: Annotated[str, typer.Option(help="int8 limits: low,middle,conv3,high.")] = "30,28,25,24",
    min_cosine: Annotated[float, typer.Option(help="Limit for every model.")] = 0.99,
    max_relative_error: Annotated[float, typer.Option(help="Limit for float32 and ONNX.")] = 1e-4,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that is no bundle.")] = False,
) -> None:
    """Export a student network as a bundle of TFLite models, checked against torch."""
    if context.invoked_subcommand is not None:
        return
    with session("interrupted, nothing was written"):
        from calibration.report import Limits
        from export.bundle import export_bundle
        from export.calibrate import ExportSettings
        from export.card import accuracy_table

        sqnr_limits = _numbers(min_sqnr_db, "--min-sqnr-db", float)
        if len(sqnr_limits) != 4:
            raise ConfigError(
                f"--min-sqnr-db {min_sqnr_db} is not four limits", fix="give low,middle,conv3,high"
            )
        settings = ExportSettings(
            int8=int8,
            calibration=calibration,
            crops=crops,
            sizes_px=_numbers(sizes, "--sizes", int),
            limits=Limits(sqnr_limits, min_cosine, max_relative_error),
        )
        student, name = _load(weights)
        typer.echo(accuracy_table(export_bundle(student, name, out, settings, force)))


@app.command()
def distill(
    out: Annotated[Path, typer.Option(help="Folder of the run; an interrupted run goes on there.")],
    config: Annotated[Path | None, typer.Option(help="TOML file of settings.")] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="vgg-m=FILE, squeezenet=, googlenet=, cf-vgg=FILE or package.module:factory."),
    ] = None,
    teacher_levels: Annotated[
        str | None, typer.Option(help="Of an imported module: low=SUBMODULE,middle=SUBMODULE,high=SUBMODULE.")
    ] = None,
    videos: Annotated[str | None, typer.Option(help="Folder in ILSVRC VID's or GOT-10k's layout.")] = None,
    photos: Annotated[str | None, typer.Option(help="Folder of photos.")] = None,
    loss: Annotated[
        str | None, typer.Option(help="fidelity, tracking, location, background, or several.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(help="Of the tracking loss: low, middle, conv3, high.")
    ] = None,
    ratio: Annotated[int | None, typer.Option(help="Compression: 1, 16, 32, 64 or 96.")] = None,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pairs.")] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in TOML.")
    ] = None,
) -> None:
    """Train a student from its teachers' features (fidelity) and by tracking with it.

    Several processes train together under torchrun: torchrun --nproc-per-node 2 -m export distill …
    """
    overrides: dict[str, Any] = {
        "teacher.networks": teacher,
        "teacher.levels": teacher_levels,
        "data.videos": videos,
        "data.photos": photos,
        "loss.terms": loss.split(",") if loss else None,
        "loss.levels": levels.split(",") if levels else None,
        "student.ratio": ratio,
        "run.steps": steps,
        "run.batch": batch,
        "optimiser.learning_rate": learning_rate,
        "run.seed": seed,
    }
    with session("interrupted; the same command goes on from the last checkpoint"):
        from edge_runtime.settings_file import parse_assignment
        from export.training.checkpoint import STUDENT
        from export.training.config import load_distill_config
        from export.training.processes import joined
        from export.training.trainer import Distillation

        for text in setting or ():
            overrides |= parse_assignment(text, "optimiser.weight_decay=0.005")
        with joined() as processes:
            run = Distillation(load_distill_config(config, overrides), out, processes)
            run.run()
        if processes.first:
            figures = {k: v for k, v in run.rows[-1].items() if k.startswith(("validation", "AUC"))}
            lines = [f"{name}: {value:.4f}" for name, value in figures.items()]
            typer.echo("\n".join([*lines, f"student: {out / STUDENT}"]))


@app.command()
def preview(
    host: HostArgument,
    *,
    remote_command: RemoteCommandOption = "cfvgg-edge",
    ssh_option: SshOption = None,
    width: Annotated[int | None, typer.Option(help="Of the pictures, px.")] = None,
    quality: Annotated[int | None, typer.Option(help="Of the JPEGs, 10 to 95.")] = None,
    max_rate: Annotated[float | None, typer.Option(help="Most pictures a second.")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page, on 127.0.0.1; 0: a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in your browser.")] = True,
) -> None:
    """Watch a device's tracker in your browser, through ssh; pick its target there with the mouse."""
    from export.preview.command import show_preview

    wanted = {"--width": width, "--quality": quality, "--max-rate": max_rate}
    options = [part for name, value in wanted.items() if value is not None for part in (name, str(value))]
    show_preview(
        host,
        remote_command=remote_command,
        remote_options=options,
        ssh_options=ssh_option or (),
        port=port,
        browser=browser,
        say=typer.echo,
    )


@app.command()
def flops(
    size: Annotated[int, typer.Option(min=33, help="Rows and columns of the input, px.")] = 224,
) -> None:
    """Print what the teacher and students of every ratio cost."""
    from export.flops import flops_table

    typer.echo(flops_table(size))


def main() -> None:
    """Entry point."""
    run_app(app, "cfvgg-export")


def _load(path: Path | None) -> tuple[Student, str]:
    """The student and its name."""
    from export.checkpoints import load_student
    from export.matconvnet import load_matconvnet

    if path is None:
        with resources.as_file(resources.files("export") / SHIPPED_WEIGHTS) as shipped:
            return load_student(shipped), shipped.stem
    loaders = {".safetensors": load_student, ".mat": load_matconvnet}
    if path.suffix not in loaders:
        raise WeightsError("has an unknown suffix", where=path, fix=f"give a {' or '.join(loaders)} file")
    return loaders[path.suffix](path), path.stem


def _numbers(text: str, option: str, kind: type[T]) -> tuple[T, ...]:
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not a list of numbers", fix="write 1,2,3") from error
