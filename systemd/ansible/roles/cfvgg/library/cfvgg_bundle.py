"""Bundles on a device: there, in use, gone back to, tidied up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cfvgg_edge import SHORT, Program, describe

DOCUMENTATION = r"""
module: cfvgg_bundle
short_description: Puts a model bundle on a device, switches to it, goes back, tidies up
description:
  - The device does the work (C(cfvgg-edge bundle)). It verifies checksums and signatures, runs a new bundle
    on trial, and goes back to the one before by itself when the service is not healthy with it. Such a host
    has failed, with C(rolled_back).
  - A bundle that is there is not copied again, one that runs is not switched to again.
options:
  src:
    description: Folder of the bundle, on the controller. Needed for C(present) and C(current).
    type: path
  state:
    description:
      - C(present) has it on the device, C(current) also in use.
      - C(left) has I(id) not in use; if it is, the device goes back to the bundle before it.
      - C(pruned) has no more than I(keep) bundles beside those that are needed.
    type: str
    choices: [present, current, left, pruned]
    default: current
  id:
    description: The bundle to go back from; eight digits of it are enough.
    type: str
  keep:
    description: How many bundles stay.
    type: int
    default: 3
  health_s:
    description: How long a bundle is on trial, seconds.
    type: float
  min_rate_hz:
    description: Least frames a second. The device compares with the bundle before it where this is not given.
    type: float
  max_p95_ms:
    description: Most milliseconds that 95 of 100 frames may take.
    type: float
  program:
    description: The device's program.
    type: str
    default: cfvgg-edge
  add:
    description: The action plugin's, whether the device lacks the bundle.
    type: bool
    default: false
  archive:
    description: The action plugin's, where the bundle lies on the device.
    type: path
author: cfvgg
"""

EXAMPLES = r"""
- name: Try a bundle, keep it if the service is healthy with it
  cfvgg_bundle:
    src: bundle/
    health_s: 60

- name: Go back from it
  cfvgg_bundle:
    state: left
    id: 0a4a843acf0f
"""

RETURN = r"""
bundle:
  description: The bundle that is in use then; for C(present), that is there.
  returned: success
  type: str
removed:
  description: Those that went.
  returned: success
  type: list
rolled_back:
  description: The trial failed, the bundle before runs again.
  returned: failure
  type: bool
progress:
  description: What the device said on the way, a line each.
  returned: when there is anything
  type: list
"""

OPTIONS: dict[str, Any] = {
    "src": {"type": "path"},
    "state": {"choices": ["present", "current", "left", "pruned"], "default": "current"},
    "id": {},
    "keep": {"type": "int", "default": 3},
    "health_s": {"type": "float"},
    "min_rate_hz": {"type": "float"},
    "max_p95_ms": {"type": "float"},
    "program": {"default": "cfvgg-edge"},
    "add": {"type": "bool", "default": False},
    "archive": {"type": "path"},
}


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        steps: commands in their order; each gives what it said on the way.
        current: the bundle that is in use then.
        bundles: those that are there then.
        bundle: the one that was asked for.
    """

    steps: tuple[Callable[[], list[str]], ...]
    current: str | None
    bundles: tuple[str, ...]
    bundle: str | None


class Device:
    """The device's store of bundles, and what a task asks of it."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._program = Program(module)
        self.facts = self._program.facts()
        self.there: tuple[str, ...] = tuple(bundle["id"] for bundle in self.facts["bundles"])
        self.current: str | None = self.facts["current"]

    def plan(self, state: str, identity: str | None) -> Plan:
        """What brings it to that state."""
        if state == "pruned":
            return self._prune()
        if identity is None:
            self._module.fail_json(msg=f"state {state} needs {'id' if state == 'left' else 'src'}")
        return self._leave(identity) if state == "left" else self._deploy(identity, state == "current")

    def _deploy(self, identity: str, use: bool) -> Plan:
        steps = []
        if self._module.params["add"]:
            steps.append(lambda: self._add(identity))
        if use and self.current != identity:
            steps.append(lambda: self._trial("use", identity))
        there = tuple(dict.fromkeys((*self.there, identity)))
        return Plan(tuple(steps), identity if use else self.current, there, identity)

    def _leave(self, identity: str) -> Plan:
        if self.current is None or not self.current.startswith(identity):
            return Plan((), self.current, self.there, self.current)
        previous = self.facts["previous"]
        if previous is None:
            self._module.fail_json(
                msg=f"{identity[:SHORT]} is in use and there is none before it; deploy another"
            )
        return Plan((lambda: self._trial("rollback"),), previous, self.there, previous)

    def _prune(self) -> Plan:
        keep = str(self._module.params["keep"])
        # As the device will decide: it lists the newest first.
        needed = (
            *self.there[: self._module.params["keep"]],
            *map(self.facts.get, ("current", "previous", "trial")),
        )
        gone = set(self.there) - set(needed)
        left = tuple(name for name in self.there if name in needed)
        steps = (lambda: self._program.ask("bundle", "prune", "--keep", keep)[1],) if gone else ()
        return Plan(steps, self.current, left, self.current)

    def _add(self, identity: str) -> list[str]:
        archive = self._module.params["archive"]
        # Read whole: bundles are a few megabytes.
        return self._program.ask("bundle", "add", "-", "--id", identity, data=Path(archive).read_bytes())[1]

    def _trial(self, *command: str) -> list[str]:
        limits = []
        for name in ("health_s", "min_rate_hz", "max_p95_ms"):
            if self._module.params[name] is not None:
                limits += [f"--{name.replace('_', '-')}", f"{self._module.params[name]:g}"]
        return self._program.ask("bundle", *command, *limits)[1]

    def picture(self, current: str | None, bundles: tuple[str, ...]) -> str:
        """The store as text, for a comparison."""
        lines = (f"bundle {describe(self.facts, name)}\n" for name in bundles)
        return f"current {describe(self.facts, current)}\n{''.join(lines)}"


def main() -> None:
    """Compare, act, answer."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    device = Device(module)
    plan = device.plan(module.params["state"], module.params["id"])
    progress = [] if module.check_mode else [line for step in plan.steps for line in step()]
    module.exit_json(
        changed=bool(plan.steps),
        bundle=plan.bundle,
        removed=sorted(set(device.there) - set(plan.bundles)),
        progress=progress,
        diff={
            "before": device.picture(device.current, device.there),
            "after": device.picture(plan.current, plan.bundles),
        },
    )


if __name__ == "__main__":
    main()
