"""What this role's modules share: they ask the device's own program, and decide nothing that it decides."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

SHORT = 12  # digits of an identity, as people read them
TRIAL_FAILED = 7  # exit code: the bundle was not good, the one before runs again


class Program:
    """`cfvgg-edge` on this device.

    Args:
        module: whose option `program` says where it is.
    """

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module
        self._path: str | None = module.get_bin_path(module.params["program"])

    @property
    def there(self) -> bool:
        """Whether it is installed."""
        return self._path is not None

    def run(self, *arguments: str, data: bytes | None = None) -> tuple[str, str]:
        """What it prints, on both ways; the module fails with its own words when it does.

        Args:
            arguments: after the program.
            data: for its standard input.
        """
        if self._path is None:
            self._module.fail_json(
                msg=f"{self._module.params['program']} is not installed; run the play that installs it"
            )
        code, out, err = self._module.run_command(
            [self._path, *arguments], data=data, binary_data=True, handle_exceptions=True
        )
        if code:
            said = [line.removeprefix("cfvgg-edge: ") for line in err.splitlines()] or [f"exit code {code}"]
            self._module.fail_json(
                msg=f"cfvgg-edge {' '.join(arguments[:2])}: {said[-1]}",
                rc=code,
                rolled_back=code == TRIAL_FAILED,
                progress=said[:-1],
            )
        return out, err

    def ask(self, *arguments: str, data: bytes | None = None) -> tuple[dict[str, Any], list[str]]:
        """Its answer to a command that knows `--json`, and what it said meanwhile."""
        out, err = self.run(*arguments, "--json", data=data)
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            self._module.fail_json(
                msg=f"cfvgg-edge {' '.join(arguments)}: its answer is no JSON: {out[:200]!r}"
            )
        return answer, err.splitlines()

    def facts(self, *, doctor: bool = False) -> dict[str, Any]:
        """What the device knows of itself; `installed` is false without the program.

        Args:
            doctor: whether it looks for troubles as well, which runs the model.
        """
        if not self.there:
            nothing: dict[str, Any] = {"current": None, "previous": None, "trial": None, "bundles": []}
            return {"installed": False, "service": {"active": False}, "doctor": [], **nothing}
        options = () if doctor else ("--quick",)
        return {"installed": True, **self.ask("bundle", "facts", *options)[0]}


def describe(facts: dict[str, Any], identity: str | None) -> str:
    """A bundle as people read it."""
    if identity is None:
        return "none"
    for bundle in facts["bundles"]:
        if bundle["id"] == identity:
            signed = f", signed by {bundle['signed_by']}" if bundle.get("signed_by") else ""
            return f"{identity[:SHORT]} {bundle['name']}{signed}"
    return identity[:SHORT]


def summary(facts: dict[str, Any]) -> str:
    """A device in one line."""
    if not facts["installed"]:
        return "cfvgg is not installed"
    service = facts["service"]
    words = [f"cfvgg {facts['cfvgg']}", "runs" if service["active"] else "DOES NOT RUN"]
    if service["active"]:
        words += [
            f"{service[name]:.1f} {unit}"
            for name, unit in (("rate_hz", "Hz"), ("p95_ms", "ms p95"))
            if service[name]
        ]
        words += [f"restarted {service['restarts']} times"] if service["restarts"] else []
    words.append(f"bundle {describe(facts, facts['current'])}")
    words += [f"ON TRIAL {describe(facts, facts['trial'])}"] if facts["trial"] else []
    words += [f"{found['result']}: {found['check']}" for found in facts["doctor"]]
    return ", ".join(words)
