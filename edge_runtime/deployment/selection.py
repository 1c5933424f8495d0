"""Which bundle of the store is in use: links that are swapped in one step, and the trial of a new one.

Everything that is written is on the disk (fsync) before the next step relies on it. What is cut off at any
point leaves in use what was in use; the mark that it leaves, the next command clears away.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.deployment.place import CURRENT, PREVIOUS, TRIAL_FILE, Trial, find_trial, linked
from edge_runtime.files import fsync_folder, storage_errors

NEW = ".new-"  # before a file or link gets its name

Settled = Callable[[], None]
Unlock = Callable[[], None]


class Selection:
    """The links of a store. Whoever changes them holds the store's lock; all changes raise `StorageError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def current(self) -> str | None:
        """Id of the bundle in use, or on trial."""
        return linked(self._folder, CURRENT)

    @property
    def previous(self) -> str | None:
        """Id of the bundle that `rollback` goes back to."""
        return linked(self._folder, PREVIOUS)

    def names(self) -> set[str]:
        """Ids of all that must stay."""
        found = find_trial(self._folder)
        names = {self.current, self.previous}
        if found is not None:
            names |= {found.trial.id, found.trial.previous, found.trial.older}
        return {name for name in names if name is not None}

    def switch(self, name: str) -> None:
        """Put a bundle in use, without a trial."""
        before = self.current
        if name == before:
            return
        # Cut off between the two, the bundle in use is its own previous one.
        self._link(PREVIOUS, before)
        self._link(CURRENT, name)

    def start_trial(self, name: str, health_s: float) -> Unlock:
        """Put a bundle in use, on trial. Returns what unlocks it, as the end of the process does."""
        unlock = self._write_trial(Trial(name, self.current, self.previous, time.time(), health_s))
        try:
            self._link(CURRENT, name)
        except BaseException:
            with contextlib.suppress(OSError):
                self.end_trial()
            unlock()
            raise
        return unlock

    def commit(self) -> None:
        """The bundle on trial stays in use, the one before becomes the previous one."""
        found = find_trial(self._folder)
        if found is not None and found.trial.previous is not None:
            self._link(PREVIOUS, found.trial.previous)
        self.end_trial()

    def revert(self) -> str | None:
        """What was in use before the trial is again; its mark stays. Returns the id, if there is one."""
        found = find_trial(self._folder)
        if found is None:
            return self.current
        self._link(CURRENT, found.trial.previous)
        self._link(PREVIOUS, found.trial.older)
        return found.trial.previous

    def end_trial(self) -> None:
        """Remove the trial's mark."""
        path = self._folder / TRIAL_FILE
        with storage_errors(path):
            path.unlink(missing_ok=True)
            fsync_folder(self._folder)

    def settle(self, restart: Settled) -> None:
        """End what was cut off. `restart` starts the service again, with the old bundle in its place."""
        if find_trial(self._folder) is not None:
            self.revert()
            # Before the mark goes: if this is cut off as well, the service goes back by itself.
            restart()
        if (self._folder / TRIAL_FILE).exists():
            self.end_trial()
        for left in self._folder.glob(f"{NEW}*"):
            with storage_errors(left):
                left.unlink()

    def _link(self, link: str, name: str | None) -> None:
        path = self._folder / link
        if linked(self._folder, link) == name:
            return
        with storage_errors(path):
            if name is None:
                path.unlink(missing_ok=True)
            else:
                new = self._folder / f"{NEW}{link}"
                new.unlink(missing_ok=True)
                new.symlink_to(name)
                new.replace(path)
            fsync_folder(self._folder)

    def _write_trial(self, trial: Trial) -> Unlock:
        path, new = self._folder / TRIAL_FILE, self._folder / f"{NEW}{TRIAL_FILE}"
        with storage_errors(path):
            new.unlink(missing_ok=True)
            handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                os.fchmod(handle, 0o644)
                # Before it gets its name, so that nobody ever sees it unlocked.
                locked(handle)
                os.write(handle, json.dumps(dataclasses.asdict(trial)).encode())
                os.fsync(handle)
                new.replace(path)
                fsync_folder(self._folder)
            except BaseException:
                new.unlink(missing_ok=True)
                os.close(handle)
                raise
        return lambda: os.close(handle)


def locked(handle: int) -> bool:
    """Lock an open file for oneself, if nobody else has: for as long as it is open, in no other process."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
