"""`cfvgg-edge bundle`."""

# Imports are inside the commands, so that other commands start without them.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edge_runtime.deployment.store import Store
    from edge_runtime.deployment.trial import Outcome

bundle_app = typer.Typer(no_args_is_help=True, help="Model bundles, and which of them is in use.")
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]
HealthOption = Annotated[
    float, typer.Option("--health-s", min=1, max=3600, help="How long the service must do well, s.")
]
RateOption = Annotated[
    float | None,
    typer.Option("--min-rate-hz", min=0, help="Frames a second; else 0.8 of what it did before."),
]
LatencyOption = Annotated[
    float | None,
    typer.Option("--max-p95-ms", min=0, help="Tracker's latency; else twice what it was before."),
]
LifelineOption = Annotated[
    bool, typer.Option("--lifeline", help="Go back when standard input ends: the connection is lost.")
]
NoRestartOption = Annotated[
    bool, typer.Option("--no-restart", help="No service is installed: only put it in its place.")
]


@bundle_app.command("check")
def check(path: Annotated[Path, typer.Argument(help="Bundle folder.")]) -> None:
    """Verify a bundle: checksums, tensors, and what its models answer to a test pattern."""
    from edge_runtime.bundle import Bundle
    from edge_runtime.deployment.text import check_text

    typer.echo(check_text(Bundle.open(path)))


@bundle_app.command("facts")
def facts(
    as_json: JsonOption = False,
    quick: Annotated[bool, typer.Option("--quick", help="Without what doctor finds.")] = False,
) -> None:
    """What this device is, what it has, and what runs on it."""
    from edge_runtime.deployment import facts as about
    from edge_runtime.deployment.text import facts_text

    found = about.facts(_store(), examine=not quick)
    _print(found, as_json, facts_text(found))


@bundle_app.command("list")
def list_bundles(as_json: JsonOption = False) -> None:
    """The bundles on this device."""
    from edge_runtime.deployment.facts import listing
    from edge_runtime.deployment.text import bundles_text

    found = listing(_store())
    _print(found, as_json, bundles_text(found))


@bundle_app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="Bundle folder, or - for a tar archive on standard input.")],
    *,
    wanted: Annotated[str | None, typer.Option("--id", help="Refuse any other bundle.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a bundle onto this device, checked and signed as it asks; the one in use stays."""
    import dataclasses
    import io
    import sys

    from edge_runtime.deployment.archive import Pipe, copy, unpack
    from edge_runtime.deployment.place import short
    from edge_runtime.deployment.unit import Unit

    def fill(folder: Path) -> None:
        if source == "-":
            unpack(io.BufferedReader(Pipe(sys.stdin.fileno())), folder)
        else:
            copy(Path(source), folder)

    added = _store().add(fill, Unit().restart_if_active, wanted)
    by = f", signed by {added.signed_by}" if added.signed_by else ""
    line = f"bundle {short(added.id)} {'added' if added.added else 'was here already'}{by}"
    _print(dataclasses.asdict(added), as_json, line)


@bundle_app.command("use")
def use(
    bundle: Annotated[str, typer.Argument(help="Its id, or the first eight digits or more.")],
    *,
    health_s: HealthOption = 30.0,
    min_rate_hz: RateOption = None,
    max_p95_ms: LatencyOption = None,
    lifeline: LifelineOption = False,
    no_restart: NoRestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start the service with another bundle; it goes back by itself unless it does well.

    Exit code 7: it did not, and the bundle before runs again.
    """
    asked = {"health_s": health_s, "min_rate_hz": min_rate_hz, "max_p95_ms": max_p95_ms}
    _use(bundle, asked, lifeline, not no_restart, as_json)


@bundle_app.command("rollback")
def rollback(
    *,
    health_s: HealthOption = 30.0,
    min_rate_hz: RateOption = None,
    max_p95_ms: LatencyOption = None,
    lifeline: LifelineOption = False,
    no_restart: NoRestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Start the service with the bundle that was in use before, in the same way."""
    asked = {"health_s": health_s, "min_rate_hz": min_rate_hz, "max_p95_ms": max_p95_ms}
    _use(None, asked, lifeline, not no_restart, as_json)


@bundle_app.command("prune")
def prune(
    keep: Annotated[int, typer.Option(min=0, max=1000, help="The newest so many stay.")] = 3,
    as_json: JsonOption = False,
) -> None:
    """Remove old bundles, but none in use, and not the one to go back to."""
    from edge_runtime.deployment.place import short
    from edge_runtime.deployment.unit import Unit

    store = _store()
    with store.changing(Unit().restart_if_active):
        removed = store.prune(keep)
    text = "\n".join(f"removed bundle {short(name)}" for name in removed) or "nothing to remove"
    _print({"removed": removed}, as_json, text)


def _use(bundle: str | None, asked: dict[str, Any], lifeline: bool, restart: bool, as_json: bool) -> None:
    from edge_runtime.deployment import trial
    from edge_runtime.deployment.health import Limits

    limits = Limits(**asked)
    outcome = trial.use(_store(), bundle, limits, restart=restart, lifeline=lifeline, say=_say)
    _print(_facts_of(outcome), as_json, _outcome_text(outcome))


def _facts_of(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "previous": outcome.previous,
        "changed": outcome.changed,
        "rate_hz": None if outcome.speed.rate_hz is None else round(outcome.speed.rate_hz, 2),
        "p95_ms": outcome.speed.p95_ms,
        "signed_by": outcome.signed_by,
    }


def _outcome_text(outcome: Outcome) -> str:
    from edge_runtime.deployment.place import short

    if not outcome.changed:
        return f"bundle {short(outcome.id)} is in use already"
    how = f": {outcome.speed}" if outcome.speed.rate_hz is not None else ""
    return f"bundle {short(outcome.id)} is in use{how}"


def _store() -> Store:
    from edge_runtime.deployment.place import signers_file, store_folder
    from edge_runtime.deployment.store import Store

    return Store(store_folder(), signers_file())


def _say(line: str) -> None:
    # Whoever watched may be gone; that must not stop what is under way.
    with contextlib.suppress(OSError):
        typer.echo(f"cfvgg-edge: {line}", err=True)


def _print(found: dict[str, Any], as_json: bool, text: str) -> None:
    import json

    typer.echo(json.dumps(found) if as_json else text)
