"""A device's own commands, `cfvgg-edge bundle …`: their answers, and their refusals as errors."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any, NoReturn

from edge_runtime.deployment.health import Limits
from edge_runtime.errors import DeploymentError, DeviceError, ServiceError, StorageError
from export.deploy.connection import Answer, Connection, Request
from export.deploy.facts import Facts, decoded, parse_facts
from export.deploy.package import Package
from export.ssh import NOT_FOUND, end_of

PREFIX = "cfvgg-edge: "
MOST_KEPT = 1000
STORAGE_STATUS, TRIAL_STATUS = StorageError.exit_code, DeploymentError.exit_code

log = logging.getLogger(__name__)


class Device:
    """A device, through a connection. `facts` comes first: it tells whether sudo is needed.

    Each method raises:
        ServiceError: the connection failed, so that it is not known what the device did.
        DeviceError: the device has refused; nothing was changed there.
        StorageError: its disk is full; nothing was changed there.
    """

    def __init__(self, connection: Connection) -> None:
        self.host = connection.host
        self._connection, self._sudo = connection, False

    def facts(self, *, examine: bool = False) -> Facts:
        """What it says of itself, as root sees it.

        Args:
            examine: whether `cfvgg-edge doctor` looks around as well, which takes seconds.
        """
        quick = ["facts", "--json", "--quick"]
        facts = parse_facts(self._ask(Request(quick)), self.host)
        if facts.uid:
            self._sudo = True
        elif not examine:
            return facts
        # Whether sudo works shows here, before anything is sent.
        return parse_facts(self._ask(Request(["facts", "--json"] if examine else quick)), self.host)

    def add(self, package: Package) -> None:
        """Send a bundle, which is verified there."""
        answer = self._ask(Request(["add", "-", "--id", package.id, "--json"], stdin=package.chunks()))
        if answer.get("id") != package.id:
            raise DeviceError(f"has taken in {answer.get('id')!r:.80}, not {package.id}", where=self.host)

    def use(self, bundle_id: str, limits: Limits) -> dict[str, Any]:
        """Put a bundle in use on trial, and wait until it is kept; the connection is its lifeline.

        Raises:
            DeploymentError: it did not stand the trial, the old one is in use.
        """
        return self._try(["use", bundle_id], limits)

    def rollback(self, limits: Limits) -> dict[str, Any]:
        """The previous bundle, as `use`."""
        return self._try(["rollback"], limits)

    def prune(self, keep: int) -> list[str]:
        """Remove old bundles. Returns their ids."""
        answer = self._ask(Request(["prune", "--keep", str(keep), "--json"]))
        return [str(name) for name in answer.get("removed", ())]

    def settle(self) -> None:
        """Have it end what was cut off. Raises `DeviceError` while a command is at work there."""
        self.prune(MOST_KEPT)

    def _try(self, arguments: Sequence[str], limits: Limits) -> dict[str, Any]:
        request = Request(
            [*arguments, *trial_options(limits), "--lifeline", "--json"],
            hold_stdin=True,
            on_stderr=lambda line: log.info("  %s", line.removeprefix(PREFIX)),
        )
        return self._ask(request)

    def _ask(self, request: Request) -> dict[str, Any]:
        arguments = ["bundle", *request.arguments]
        answer = self._connection.run(dataclasses.replace(request, arguments=arguments, sudo=self._sudo))
        if answer.status:
            self._refuse(answer)
        return decoded(answer.output, self.host)

    def _refuse(self, answer: Answer) -> NoReturn:
        if answer.lost:
            # What the device said says nothing about that.
            said_here = [line for line in answer.said if not line.startswith(PREFIX)]
            fix = f"does `ssh {self.host}` work, without asking anything?"
            raise ServiceError(end_of(answer.status, said_here), where=self.host, fix=fix)
        if answer.status == NOT_FOUND:
            fix = "install it (docs/deploy.md), or say where it is with --remote-command"
            raise DeviceError("has no cfvgg-edge", where=self.host, fix=fix)
        said = _last(answer.said)
        if said.startswith("sudo: "):
            fix = "let this user run `cfvgg-edge bundle` by sudo without a password (docs/deploy.md)"
            raise DeviceError(said.removeprefix("sudo: "), where=self.host, fix=fix)
        if "No such command" in said or "No such option" in said:
            what = f"its cfvgg-edge is too old ({said.removeprefix('Error: ').rstrip('.')})"
            raise DeviceError(what, where=self.host, fix="update it there (docs/deploy.md)")
        kinds = {STORAGE_STATUS: StorageError, TRIAL_STATUS: DeploymentError}
        raise kinds.get(answer.status, DeviceError)(
            said.removeprefix(PREFIX) or f"has ended with status {answer.status}", where=self.host
        )


def _last(said: Sequence[str]) -> str:
    """The line that says why: the last one of `cfvgg-edge`, since ssh or a shell may say more after it."""
    ours = [line for line in said if line.startswith(PREFIX)]
    return (ours or list(said) or [""])[-1]


def trial_options(limits: Limits) -> list[str]:
    """For `cfvgg-edge bundle use` and `rollback`."""
    given = {
        "--health-s": limits.health_s,
        "--min-rate-hz": limits.min_rate_hz,
        "--max-p95-ms": limits.max_p95_ms,
    }
    return [part for name, value in given.items() if value is not None for part in (name, f"{value:g}")]
