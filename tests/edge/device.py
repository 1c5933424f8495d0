"""A device to deploy to: a store of bundles, settings, and a service under a stand-in for systemd."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.control import ask
from edge_runtime.deployment.archive import copy
from edge_runtime.deployment.place import TRIAL_FILE
from edge_runtime.deployment.store import Store
from edge_runtime.errors import CfvggError
from tests.edge.bundles import renamed
from tests.edge.service import PATIENCE_S, ROOT, START, until
from tests.edge.standin_systemctl import StandinSystemd

# A bundle's name is what its network does, in the service and where it is opened apart.
BEHAVIOUR = """
import os, signal, time
from edge_runtime import bundle, features

started_s = time.monotonic()
extract, check_model = features.NetworkFeatures.extract, bundle.Bundle._check_model

def extract_as_named(self, *arguments):
    name = self.bundle.manifest.name
    if name == "slow":
        time.sleep(0.25)
    elif name == "hangs":
        time.sleep(600)
    elif name == "crashes" or name == "crashes later" and time.monotonic() - started_s > 6:
        os.kill(os.getpid(), signal.SIGSEGV)
    return extract(self, *arguments)

def check_as_named(self, dtype):
    if self.manifest.name == "cannot be opened":
        os.kill(os.getpid(), signal.SIGSEGV)
    return check_model(self, dtype)

features.NetworkFeatures.extract = extract_as_named
bundle.Bundle._check_model = check_as_named
"""
APART = f"""
import sys
if "edge_runtime.deployment.opening" in " ".join(sys.orig_argv):
    exec({BEHAVIOUR!r})
"""
TARGET = "[target]\nbox = [100, 80, 40, 40]\n"
SETTINGS = """
[source]
uri = "fake:live=true"
rate_hz = 10
[tracker]
preset = "{preset}"
"""


SHORT = ("--health-s", "3")
LONG = ("--health-s", "600")
# The machine may be busy: what a bundle before did says little then.
LENIENT = (*SHORT, "--min-rate-hz", "0.5", "--max-p95-ms", "5000")


class Device:
    """One device, with the bundles "first" and "second" in its store, and none in use.

    Args:
        folder: of everything.
        bundle: a real one, which all others are copies of.
    """

    def __init__(self, folder: Path, bundle: Path, *, preset: str = "fkcf", settings: str = TARGET) -> None:
        self.folder, self._bundle = folder, bundle
        self.config = folder / "cfvgg.toml"
        self.config.write_text(SETTINGS.format(preset=preset) + settings)
        self.store = Store(folder / "store", folder / "allowed_signers")
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(APART)
        own = {
            "CFVGG_BUNDLES_DIR": str(self.store.folder),
            "CFVGG_ALLOWED_SIGNERS": str(self.store.signers),
            "CFVGG_STATE_DIR": str(folder / "state"),
        }
        self.systemd = StandinSystemd(folder, self.config, own, BEHAVIOUR + START)
        self.env = os.environ | own | {
            "CFVGG_RUNTIME_DIR": str(self.systemd.runtime),
            "PATH": f"{self.systemd.path}:{os.environ['PATH']}",
            "PYTHONPATH": f"{folder / 'site'}:{ROOT}",
        }  # fmt: skip
        self.first, self.second = self.add("first"), self.add("second")

    def add(self, name: str) -> str:
        """A bundle that does what its name says; its id."""
        source = renamed(self._bundle, self.folder / f"bundle {name}", name)
        return self.store.add(lambda folder: copy(source, folder), lambda: None).id

    def bundle(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`cfvgg-edge bundle …`, to its end."""
        return subprocess.run(
            [sys.executable, "-c", START, "bundle", *arguments],
            cwd=ROOT,
            env=self.env | (env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE_S,
            check=False,
        )

    @contextlib.contextmanager
    def using(self, name: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        """`cfvgg-edge bundle use`, which is on its way when the context begins: the new bundle is watched."""
        with (self.folder / "said.txt").open("w") as said:
            process = subprocess.Popen(
                [sys.executable, "-c", START, "bundle", "use", name, *options],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                text=True,
            )
        try:
            until(lambda: "health" in self.said() or process.poll() is not None, "the trial")
            assert process.poll() is None, self.said()
            yield process
        finally:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def said(self) -> str:
        """What the last command of `using` has said so far."""
        return (self.folder / "said.txt").read_text()

    def running(self) -> str | None:
        """Id of the bundle that the service runs; None while it does not answer."""
        try:
            status = ask(self.systemd.runtime / "control.sock", {"command": "status"})["status"]
        except CfvggError:
            return None
        return Path(status["bundle"]).name if status["bundle"] else ""

    def runs(self, name: str) -> None:
        """Wait until the service runs that bundle."""
        until(lambda: self.running() == name and self.systemd.state == "active", f"bundle {name[:12]}")

    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bundle("facts", "--quick", "--json").stdout)
        return found

    def stays_as_it_was(self) -> None:
        """Wait until the service runs "first"; nothing is left of another bundle's trial."""
        self.runs(self.first)
        assert self.store.selection.current == self.first
        assert self.store.selection.previous is None
        assert not (self.store.folder / TRIAL_FILE).exists()

    def close(self) -> None:
        self.systemd.close()


Make = Callable[..., Device]


@pytest.fixture
def device(tmp_path: Path, bundle_path: Path) -> Iterator[Make]:
    made: list[Device] = []

    def make(**settings: Any) -> Device:
        made.append(Device(tmp_path, bundle_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def in_use(device: Make) -> Device:
    """The service runs "first"."""
    one = device()
    one.store.selection.switch(one.first)
    assert one.systemd.systemctl("start")[0] == 0
    one.runs(one.first)
    return one
