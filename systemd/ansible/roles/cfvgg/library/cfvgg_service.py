"""The service on a device: its files up to date, running, with the settings that are there now."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cfvgg_edge import Program

DOCUMENTATION = r"""
module: cfvgg_service
short_description: Keeps the cfvgg service installed and running
description:
  - Runs C(cfvgg-edge service install) if that would write anything.
  - With C(started), starts the service, or starts it anew if it runs since before its settings or unit files
    were written; then waits until frames flow. A service that is as it should be is left alone.
options:
  state:
    description: C(installed) neither starts nor stops it.
    type: str
    choices: [installed, started]
    default: started
  config:
    description: The service's settings.
    type: path
    default: /etc/cfvgg/cfvgg.toml
  ready_s:
    description: How long frames are waited for, seconds.
    type: float
    default: 60
  program:
    description: The device's program.
    type: str
    default: cfvgg-edge
author: cfvgg
"""

EXAMPLES = r"""
- name: Have it run with the settings that were just written
  cfvgg_service:
"""

RETURN = r"""
did:
  description: What was done, or would be in check mode, a line each.
  returned: success
  type: list
service:
  description: How it is doing.
  returned: success
  type: dict
"""

UNIT = "cfvgg-edge.service"
# What `service install` says of the steps that change something; commands it runs each time.
CHANGES = ("write ", "make ", "link ", "remove ", "run usermod")
PROPERTIES = ("ActiveState", "ExecMainStartTimestampMonotonic", "FragmentPath", "DropInPaths")


class Service:
    """The device's service, as its program and systemd see it."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._program = Program(module)
        self.did: list[str] = []

    def install(self) -> None:
        """Bring its files up to date."""
        planned = self._program.run("service", "install", "--dry-run")[0].splitlines()
        found = [line.removeprefix("would ") for line in planned if line.startswith("would ")]
        self.did = [line for line in found if line.startswith(CHANGES)]
        if self.did and not self._module.check_mode:
            self._program.run("service", "install")

    def start(self) -> None:
        """Start it, or start it anew, if it does not run with what is there now."""
        unit = self._unit()
        if unit["ActiveState"] != "active":
            reason = f"start {UNIT}"
        elif newer := self._newer(unit):
            reason = f"restart {UNIT}: {newer} is newer"
        elif self.did:
            reason = f"restart {UNIT}"
        else:
            return
        self.did.append(reason)
        if self._module.check_mode:
            return
        self._systemctl("reset-failed", may_fail=True)
        self._systemctl("restart")

    def wait(self, limit_s: float) -> dict[str, Any]:
        """How it is doing, once frames flow; the module fails if they do not."""
        end_s = time.monotonic() + limit_s
        service: dict[str, Any] = self._program.facts()["service"]
        while not (service["active"] and service["rate_hz"]):
            if time.monotonic() > end_s or self._unit()["ActiveState"] == "failed":
                self._fail(f"no frames within {limit_s:g} s")
            time.sleep(0.5)
            service = self._program.facts()["service"]
        return service

    def _unit(self) -> dict[str, str]:
        options = [part for name in PROPERTIES for part in ("-p", name)]
        out = self._module.run_command(["systemctl", "show", UNIT, *options], check_rc=True)[1]
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def _newer(self, unit: dict[str, str]) -> str | None:
        """A file that it depends on and that was written after it had started."""
        start_s = int(unit["ExecMainStartTimestampMonotonic"]) / 1e6
        start_unix = time.time() - time.monotonic() + start_s
        files = [self._module.params["config"], unit["FragmentPath"], *unit["DropInPaths"].split()]
        for path in map(Path, files):
            if path.exists() and path.stat().st_mtime > start_unix:
                return str(path)
        return None

    def _systemctl(self, verb: str, *, may_fail: bool = False) -> None:
        code, _, err = self._module.run_command(["systemctl", verb, UNIT])
        if code and not may_fail:
            self._fail(f"systemctl {verb}: {err.strip()}")

    def _fail(self, why: str) -> None:
        """With the tracker's own words."""
        command = ["journalctl", "-u", UNIT, "-n", "20", "--no-pager", "-o", "cat"]
        journal = self._module.run_command(command)[1].splitlines()
        said = [line for line in journal if line.startswith("cfvgg-edge: ")]
        why = f"{why} ({said[-1].removeprefix('cfvgg-edge: ')})" if said else why
        self._module.fail_json(msg=f"{UNIT}: {why}", journal=journal, did=self.did)


OPTIONS: dict[str, Any] = {
    "state": {"choices": ["installed", "started"], "default": "started"},
    "config": {"type": "path", "default": "/etc/cfvgg/cfvgg.toml"},
    "ready_s": {"type": "float", "default": 60},
    "program": {"default": "cfvgg-edge"},
}


def main() -> None:
    """Compare, act, answer."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    service, facts = Service(module), {}
    service.install()
    if module.params["state"] == "started":
        service.start()
        if not module.check_mode:
            facts = service.wait(module.params["ready_s"])
    lines = "".join(f"{line}\n" for line in service.did)
    module.exit_json(
        changed=bool(service.did), did=service.did, service=facts, diff={"before": "", "after": lines}
    )


if __name__ == "__main__":
    main()
