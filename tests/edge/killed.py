"""Kills what changes a store at every step that it takes, and looks at what is left.

`python -m tests.edge.killed WHAT STORE BUNDLES`: in each round a child process works on a copy of STORE, is
killed at its nth call of the file system, and the parent says what it finds then, as a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_runtime.deployment.archive import copy
from edge_runtime.deployment.contents import verified
from edge_runtime.deployment.place import deployed, find_trial
from edge_runtime.deployment.store import Store

CALLS = (
    "rename", "replace", "symlink", "unlink", "fsync", "mkdir", "rmdir", "chmod", "fchmod", "open", "write",
    "utime", "close",
)  # fmt: skip


def kill_at(number: int) -> None:
    """The call with that number, from 0, is not made any more: the process is dead."""
    left = [number]

    def counted(name: str) -> None:
        real: Callable[..., Any] = getattr(os, name)

        def call(*arguments: Any, **more: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*arguments, **more)

        setattr(os, name, call)

    for name in CALLS:
        counted(name)


def work(what: str, store: Store, others: Path) -> None:
    """`others` holds the folder of a bundle to add."""
    ids = {kept.name: kept.id for kept in store.kept()}
    if what == "add":
        store.add(lambda folder: copy(others / "added", folder), lambda: None)
    elif what == "switch":
        with store.changing(lambda: None):
            store.selection.switch(ids["new"])
    elif what == "prune":
        with store.changing(lambda: None):
            store.prune(0)
    else:
        with store.changing(lambda: None):
            unlock = store.selection.start_trial(ids["new"], 30.0)
            if what == "revert":
                store.selection.revert()
                store.selection.end_trial()
            else:
                store.selection.commit()
            unlock()


def look(store: Store) -> dict[str, Any]:
    """What is in use, and whether every bundle in the store is whole."""
    path, trial = deployed(store.folder), find_trial(store.folder)
    for kept in store.kept():
        assert verified(store.folder / kept.id).id == kept.id
    return {
        "deployed": None if path is None else verified(path).name,
        "previous": store.selection.previous,
        "trial": trial is not None,
        "bundles": sorted(kept.name for kept in store.kept()),
        "files": sorted(entry.name for entry in store.folder.iterdir()),
    }


def main() -> None:
    what, template, others = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    place = template.with_name(f"{template.name}-{what}")
    number, killed = 0, True
    while killed:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(template, place, symlinks=True)
        store = Store(place, place / "no-signers")
        child = os.fork()
        if child == 0:
            kill_at(number)
            with contextlib.suppress(BaseException):
                work(what, store, others)
                os._exit(0)
            os._exit(1)
        status = os.waitpid(child, 0)[1]
        killed = os.WIFSIGNALED(status)
        left = look(store)
        restarted: list[str] = []
        with store.changing(lambda: restarted.append("")):  # noqa: B023 (called at once)
            settled = look(store)
        found = {"killed": killed, "exit": status, "left": left, "settled": settled}
        sys.stdout.write(json.dumps(found | {"restarted": len(restarted)}) + "\n")
        sys.stdout.flush()
        number += 1


if __name__ == "__main__":
    main()
