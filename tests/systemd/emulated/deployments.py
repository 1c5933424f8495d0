"""Bundles deployed from here: good ones, bad ones, and what is cut off on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.systemd.emulated.bundles import Bundles, bundle_id
from tests.systemd.emulated.device import Device
from tests.systemd.emulated.machine import HOST, USER
from tests.systemd.emulated.report import Report, excerpt

ENTRY = "from export.cli import main; main()"
DEPLOY_S = 3000.0
HEALTH_S = 20
LONG_HEALTH_S = 600  # for a trial that is cut off
REFUSED, FAILED = 2, 7


class DeployChecks:
    """`cfvgg-export deploy`, from this machine."""

    def __init__(self, device: Device, report: Report, bundles: Bundles) -> None:
        self._device, self._report, self._bundles = device, report, bundles

    def first(self) -> None:
        """Nothing ran before."""
        with self._report.step("deploy: the first bundle") as facts:
            said = self._deploy(self._bundles.first)
            facts["bundle"] = self._device.runs(bundle_id(self._bundles.first))["bundle"][-64:][:12]
            excerpt("cfvgg-export deploy pi@… first", said)

    def second(self) -> None:
        """In the place of the first."""
        with self._report.step("deploy: a second bundle, committed"):
            said = self._deploy(self._bundles.second)
            self._used(self._bundles.second, self._bundles.first)
            excerpt("cfvgg-export deploy pi@… second", said)
        with self._report.step("deploy: what runs already"):
            said = self._deploy(self._bundles.second)
            assert "already" in said, said

    def bad(self) -> None:
        """The second bundle runs on, or runs again."""
        for name, bundle, code in (
            ("a broken bundle, refused", self._bundles.broken, REFUSED),
            ("a slow bundle, taken back", self._bundles.slow, FAILED),
        ):
            with self._report.step(f"deploy: {name}"):
                said = self._deploy(bundle, expect=code)
                self._used(self._bundles.second, self._bundles.first)
                excerpt(f"cfvgg-export deploy, exit code {code}", said)
        with self._report.step("deploy: the service dies during the trial, taken back"):
            with self._trying(self._bundles.first) as deploy:
                self._device.machine.run(f"sudo kill -9 {self._device.unit('MainPID')}")
                said = finished(deploy)
            assert deploy.returncode == FAILED, said
            self._used(self._bundles.second, self._bundles.first)
            excerpt(f"cfvgg-export deploy, exit code {FAILED}", said)

    def connection_lost(self) -> None:
        """ssh is killed during the trial."""
        with self._report.step("deploy: the connection is cut during the trial, taken back"):
            with self._trying(self._bundles.first) as deploy:
                pid = int(self._device.unit("MainPID"))
                os.killpg(deploy.pid, signal.SIGKILL)
            self._device.runs(bundle_id(self._bundles.second), pid)
            self._used(self._bundles.second, self._bundles.first)

    def power_cut_after_upload(self) -> None:
        """The bundle is there, and not in use."""
        machine = self._device.machine
        with self._report.step("power cut between upload and switch") as facts:
            machine.run("sudo cfvgg-edge bundle prune --keep 0")
            assert bundle_id(self._bundles.slow) not in self._ids()
            archive = subprocess.Popen(("tar", "-C", self._bundles.slow, "-c", "."), stdout=subprocess.PIPE)
            machine.run("sudo cfvgg-edge bundle add - --json", stdin=archive.stdout)
            archive.wait()
            machine.cut_power()
            facts["boot s"] = round(machine.start(), 1)
            self._device.runs(bundle_id(self._bundles.second))
            self._used(self._bundles.second, self._bundles.first)
            assert bundle_id(self._bundles.slow) in self._ids()

    def power_cut_during_upload(self) -> None:
        """Half a bundle is never one."""
        machine = self._device.machine
        with self._report.step("power cut during the upload") as facts:
            machine.run("sudo cfvgg-edge bundle prune --keep 0")
            with machine.running("sudo cfvgg-edge bundle add - --json") as adding:
                whole = subprocess.run(
                    ("tar", "-C", self._bundles.slow, "-c", "."), capture_output=True, check=True
                ).stdout
                assert adding.stdin is not None
                adding.stdin.write(whole[: len(whole) // 2])
                adding.stdin.flush()
                machine.run(
                    "until sudo sh -c 'du -s /var/lib/cfvgg-bundles/.incoming-*/'; do sleep 0.2; done"
                )
                machine.cut_power()
            facts["boot s"] = round(machine.start(), 1)
            self._device.runs(bundle_id(self._bundles.second))
            machine.run("sudo cfvgg-edge bundle prune")
            machine.run("sudo sh -c 'ls -d /var/lib/cfvgg-bundles/.incoming-*'", expect=2)
            assert bundle_id(self._bundles.slow) not in self._ids()

    def power_cut_during_trial(self) -> None:
        """Switched, and not committed."""
        machine = self._device.machine
        with self._report.step("power cut between switch and commit") as facts:
            with self._trying(self._bundles.first):
                assert machine.run("readlink /var/lib/cfvgg-bundles/current").strip() == bundle_id(
                    self._bundles.first
                )
                machine.cut_power()
            facts["boot s"] = round(machine.start(), 1)
            self._device.runs(bundle_id(self._bundles.second))
            excerpt("journal after the power cut", self._device.journal(8))
            machine.run("sudo cfvgg-edge bundle prune")  # settles
            self._used(self._bundles.second, self._bundles.first)

    def rollback(self) -> None:
        """Back by a person's wish."""
        with self._report.step("rollback"):
            said = self._export("rollback", expect=0)
            self._used(self._bundles.first, self._bundles.second)
            excerpt("cfvgg-export rollback; list", said + self._export("list", expect=0))

    def _used(self, current: Path, previous: Path) -> None:
        """The store's links, the service that runs, and no trial under way."""
        store = self._device.bundles()
        assert (store["current"], store["previous"], store["trial"]) == (
            bundle_id(current),
            bundle_id(previous),
            None,
        ), store
        self._device.runs(bundle_id(current))

    def _ids(self) -> set[str]:
        return {bundle["id"] for bundle in self._device.bundles()["bundles"]}

    def _deploy(self, bundle: Path, expect: int = 0) -> str:
        return self._export("deploy", str(bundle), expect=expect)

    def _export(self, command: str, *arguments: str, expect: int) -> str:
        done = subprocess.run(
            self._call(command, *arguments, health_s=HEALTH_S),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEPLOY_S,
            check=False,
        )
        assert done.returncode == expect, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def _call(self, command: str, *arguments: str, health_s: int) -> list[str]:
        call = [sys.executable, "-c", ENTRY, command, f"{USER}@{HOST}", *arguments]
        if command in {"deploy", "rollback"}:
            # What a good bundle must reach here, however busy this machine is, and the slow one never does.
            call += ["--health-s", str(health_s), "--min-rate-hz", "0.3", "--max-p95-ms", "10000"]
        return [*call, *self._device.machine.ssh_options(shared=False)]

    @contextmanager
    def _trying(self, bundle: Path) -> Iterator[subprocess.Popen[str]]:
        """A long trial that has come to watching the service."""
        deploy = subprocess.Popen(
            self._call("deploy", str(bundle), health_s=LONG_HEALTH_S),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            assert deploy.stdout is not None
            said = list[str]()
            while not re.search(r"health \d+/", "".join(said[-1:])):
                said.append(deploy.stdout.readline())
                assert said[-1], f"deploy ended\n{''.join(said)}"
            yield deploy
        finally:
            if deploy.poll() is None:
                os.killpg(deploy.pid, signal.SIGKILL)
            deploy.wait()


def finished(deploy: subprocess.Popen[str]) -> str:
    """What it said to its end."""
    said, _ = deploy.communicate(timeout=DEPLOY_S)
    return said
