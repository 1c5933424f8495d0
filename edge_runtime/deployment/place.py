"""Where deployed bundles are, and which of them counts. Light to import: every start of a tracker asks.

The store is a folder of root's. `current` and `previous` are links to bundles in it, named by their ids.
While a bundle is on trial, `trial.json` says so, locked (flock) by the process that runs the trial. The
kernel unlocks it however that process ends. An unlocked `trial.json` is that of a trial that was killed or
cut off, and then the bundle before counts, without anybody having to write anything.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import AbandonedError
from edge_runtime.trackers.presets import network_levels

if TYPE_CHECKING:
    from edge_runtime.config import Config

STORE = Path("/var/lib/cfvgg-bundles")
SIGNERS = Path("/etc/cfvgg/allowed_signers")
CURRENT, PREVIOUS, TRIAL_FILE = "current", "previous", "trial.json"
ID = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """What `trial.json` holds.

    Attributes:
        id: of the bundle on trial.
        previous: of the bundle in use before, which counts again if the trial fails; None if there was none.
        older: what `previous` led to before the trial.
        started_unix: when it began, seconds.
        health_s: how long the service must do well.
    """

    id: str
    previous: str | None
    older: str | None
    started_unix: float
    health_s: float


@dataclass(frozen=True)
class FoundTrial:
    """A trial, and whether nobody runs it any more."""

    trial: Trial
    abandoned: bool


def store_folder() -> Path:
    """Where bundles are kept: `$CFVGG_BUNDLES_DIR`, or the system's folder."""
    return Path(os.environ.get("CFVGG_BUNDLES_DIR") or STORE)


def signers_file() -> Path:
    """Whom this device trusts, in the format of ssh-keygen(1): `$CFVGG_ALLOWED_SIGNERS`, or the system's."""
    return Path(os.environ.get("CFVGG_ALLOWED_SIGNERS") or SIGNERS)


def short(bundle_id: str) -> str:
    """What people are shown of an id: its first 12 digits."""
    return bundle_id[:12]


def linked(folder: Path, name: str) -> str | None:
    """The id that a link of the store leads to; None if there is no such link."""
    try:
        target = os.readlink(folder / name)  # noqa: PTH115 (Path.readlink raises for a plain file as well)
    except OSError:
        return None
    return target if ID.fullmatch(target) else None


def find_trial(folder: Path) -> FoundTrial | None:
    """The trial under way or left behind; None if there is none."""
    try:
        handle = os.open(folder / TRIAL_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        abandoned = _unlocked(handle)
        # A trial that has just ended well is unlinked, then unlocked: that one is no trial any more.
        if not os.fstat(handle).st_nlink:
            return None
        trial = _parsed(os.read(handle, 4096))
    finally:
        os.close(handle)
    return FoundTrial(trial, abandoned) if trial is not None else None


def effective(folder: Path) -> tuple[str | None, str | None, str | None]:
    """Ids of the bundle that counts, of the one before it, and of the one on a trial that is under way."""
    found = find_trial(folder)
    if found is None:
        return linked(folder, CURRENT), linked(folder, PREVIOUS), None
    if found.abandoned:
        return found.trial.previous, found.trial.older, None
    return linked(folder, CURRENT), linked(folder, PREVIOUS), found.trial.id


def deployed(folder: Path) -> Path | None:
    """The bundle that counts; None if none does. Reads only, and the lock takes no right to write."""
    found = find_trial(folder)
    if found is None or not found.abandoned:
        name = linked(folder, CURRENT)
    else:
        name = found.trial.previous
        back = f"back to {short(name)}" if name else "and there was no bundle before"
        log.warning("the trial of bundle %s was cut off, %s", short(found.trial.id), back)
    return folder / name if name else None


def check_trial(bundle: Path) -> None:
    """Raise `AbandonedError` if a bundle is on a trial that was cut off. Takes some microseconds."""
    found = find_trial(bundle.parent)
    if found is not None and found.abandoned and found.trial.id == bundle.name:
        raise AbandonedError(
            f"the trial of bundle {short(bundle.name)} was cut off",
            fix="the service starts with the one before",
        )


def chosen_bundle(config: Config) -> Path | None:
    """The bundle folder that the settings ask for: `model.bundle`; if that is empty, the deployed one.

    None if there is neither, or the settings name none and the tracker takes no network.
    """
    if config.model.bundle:
        return Path(config.model.bundle)
    return deployed(store_folder()) if network_levels(config.tracker) else None


def _unlocked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _parsed(data: bytes) -> Trial | None:
    """None for what no trial wrote: it is written whole before it gets its name."""
    try:
        found: Any = json.loads(data)
        trial = Trial(**found)
    except (ValueError, TypeError, RecursionError):
        return None
    names = (trial.id, trial.previous, trial.older)
    good = all(n is None or (isinstance(n, str) and ID.fullmatch(n)) for n in names) and trial.id is not None
    return trial if good else None
