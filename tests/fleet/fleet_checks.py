"""Playbooks against a fleet: python -m tests.fleet.fleet_checks FOLDER.

.ci/fleet-check makes the folder and four hosts. Prints what Ansible prints and a line for each check, and
fails at the first that does not hold.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fleet.bundles import export, identity
from tests.fleet.fleet import Fleet, Play, say

SETTINGS = """\
[device]
name = "{{ inventory_hostname }}"
[source]
uri = "fake:live=true&rate_hz=5"
[target]
box = [140, 100, 40, 40] # where the built-in scene begins
[tracker]
preset = "fkcf"
"""
# The machine is shared: what is good must be good while others work, and what is bad is bad by far.
TRIAL = ("-e", "cfvgg_health_s=4", "-e", "cfvgg_min_rate_hz=0.5")
LENIENT = (*TRIAL, "-e", "cfvgg_max_p95_ms=3000")
INSTALL = ("-e", "cfvgg_packages=dist", "-e", "cfvgg_config=cfvgg.toml")


class Checks:
    """In the order of `main`; each begins where the one before ended."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.good, self.other, self.slow = (
            identity(fleet.folder / name) for name in ("good", "other", "slow")
        )

    def first_rollout(self) -> None:
        """Nothing is on the hosts; the last one takes the tar, the others the Debian package."""
        empty = {host: self.fleet.state(host) for host in self.fleet.hosts}
        play = self._deploy("good", "--check")
        assert set(play.changed().values()) == {1}, play.hosts
        self._untouched(empty)
        play = self._deploy("good")
        assert all(tasks.failed == tasks.unreachable == 0 for tasks in play.hosts.values()), play.hosts
        self._all(self.good)
        assert self.fleet.call(self.fleet.hosts[0], "readlink -f /usr/bin/cfvgg-edge").startswith(
            "/usr/lib/cfvgg/"
        )
        assert self.fleet.call(self.fleet.hosts[-1], "readlink /usr/local/bin/cfvgg-edge").startswith(
            "/opt/cfvgg/"
        )
        for host in self.fleet.hosts:
            assert f'name = "{host}"' in self.fleet.call(host, "cat /etc/cfvgg/cfvgg.toml")
        say(f"ok: the first rollout: all of {', '.join(self.fleet.hosts)} run {self.good[:12]}")

    def second_run(self) -> None:
        """What is as it should be stays as it is."""
        before = {host: self.fleet.state(host) for host in self.fleet.hosts}
        play = self._deploy("good")
        assert not any(play.changed().values()), play.hosts
        self._untouched(before)
        say("ok: the second run: changed=0 everywhere, the same files and processes")

    def check_mode(self) -> None:
        """It says what would change, and changes nothing."""
        before = {host: self.fleet.state(host) for host in self.fleet.hosts}
        play = self._deploy("other", "--check", "--diff")
        assert set(play.changed().values()) == {1}, play.hosts
        for line in (f"-current {self.good[:12]}", f"+current {self.other[:12]}"):
            assert line in play.said, line
        self._untouched(before)
        say("ok: --check --diff: one change on each, said with both bundles, and made nowhere")

    def bad_bundle(self) -> None:
        """The first host tries it and goes back, the others never see it."""
        first, *others = self.fleet.hosts
        before = {host: self.fleet.state(host) for host in others}
        # No tracker is as fast: whatever else this machine does, the trial fails.
        limit = ("-e", "cfvgg_max_p95_ms=1")
        play = self.fleet.play("deploy", *TRIAL, *limit, "-e", "cfvgg_bundle=slow", expect=2)
        assert play.hosts[first].failed == 1, play.hosts
        assert set(play.hosts) == {first}, play.hosts
        assert "too slow" in play.said
        self._untouched(before)
        self._all(self.good)
        say(f"ok: a bundle that is too slow: {first} is back to {self.good[:12]}, the others were left alone")

    def bad_settings(self) -> None:
        """Settings that are refused, and settings that are good but with which nothing runs."""
        before = {host: self.fleet.state(host) for host in self.fleet.hosts}
        (self.fleet.folder / "wrong.toml").write_text("[source]\nuri = 5\n")
        play = self.fleet.play("deploy", "-e", "cfvgg_config=wrong.toml", expect=2)
        assert "source.uri" in play.said
        self._untouched(before)
        first, *others = self.fleet.hosts
        (self.fleet.folder / "gone.toml").write_text(
            SETTINGS.replace("fake:live=true&rate_hz=5", "/dev/video9")
        )
        self.fleet.play("deploy", "-e", "cfvgg_config=gone.toml", "-e", "cfvgg_ready_s=20", expect=2)
        assert "fake:live" in self.fleet.call(first, "cat /etc/cfvgg/cfvgg.toml")
        self._untouched({host: before[host] for host in others})
        self._all(self.good)
        say(f"ok: settings without a camera: {first} runs with those before, the others were left alone")

    def unreachable(self) -> None:
        """A host is gone in the middle: those before it have the new bundle, those behind it the old one."""
        first, second, gone, last = self.fleet.hosts
        with self.fleet.unplugged(gone):
            play = self._deploy("other", expect=4)
        assert play.hosts[gone].unreachable == 1, play.hosts
        assert last not in play.hosts, play.hosts
        expected = {first: self.other, second: self.other, gone: self.good, last: self.good}
        assert self.fleet.current() == expected
        say(f"ok: {gone} is gone: {first} and {second} run {self.other[:12]}, {last} runs {self.good[:12]}")
        changed = self._deploy("other").changed()
        assert [changed[host] for host in self.fleet.hosts] == [0, 0, 1, 1], changed
        self._all(self.other)
        say("ok: the same command again, with it back: the two left follow, the others have changed=0")

    def rollback(self) -> None:
        """Back from a bundle, once."""
        options = (*LENIENT, "-e", f"cfvgg_bad={self.other[:12]}")
        play = self.fleet.play("rollback", *options)
        assert set(play.changed().values()) == {1}, play.hosts
        self._all(self.good)
        play = self.fleet.play("rollback", *options)
        assert not any(play.changed().values()), play.hosts
        self._all(self.good)
        say(f"ok: rollback: all are back from {self.other[:12]}, and the second time nothing happens")

    def signatures(self) -> None:
        """With a key, unsigned bundles are refused before anything is copied."""
        folder = self.fleet.folder
        for name in ("signer", "signer.pub"):
            (folder / name).unlink(missing_ok=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "signer", "-f", str(folder / "signer"))
        key = (folder / "signer.pub").read_text()
        (folder / "allowed_signers").write_text(f'team@example namespaces="cfvgg-bundle" {key}')
        keys = ("-e", "cfvgg_allowed_signers=allowed_signers")
        (folder / "other" / "SHA256SUMS.sig").unlink(missing_ok=True)
        play = self._deploy("other", *keys, expect=2)
        assert "signed bundles only" in play.said
        self._all(self.good)
        _run("ssh-keygen", "-q", "-Y", "sign", "-n", "cfvgg-bundle", "-f", str(folder / "signer"),
             str(folder / "other" / "SHA256SUMS"))  # fmt: skip
        self._deploy("other", *keys)
        self._all(self.other)
        (_,) = {
            bundle["signed_by"]
            for bundle in self.fleet.facts(self.fleet.hosts[1])["bundles"]
            if bundle["id"] == self.other
        }
        play = self._deploy("other", *keys)
        assert not any(play.changed().values()), play.hosts
        say("ok: with allowed_signers: the unsigned bundle is refused, the signed one deployed, once")

    def status_and_prune(self) -> None:
        """A line for each; and what is needed stays."""
        play = self.fleet.play("status")
        for host in self.fleet.hosts:
            assert f'"{host}: cfvgg ' in play.said
            assert f"bundle {self.other[:12]}" in play.said
        options = ("-e", "cfvgg_keep=1")
        planned = self.fleet.play("prune", "--check", *options).changed()
        done = self.fleet.play("prune", *options).changed()
        assert planned == done
        for host in self.fleet.hosts:
            assert {bundle["id"] for bundle in self.fleet.facts(host)["bundles"]} >= {self.good, self.other}
        assert self.slow not in str(self.fleet.facts(self.fleet.hosts[0])["bundles"])
        assert done[self.fleet.hosts[0]] == 1, done  # where the slow one was tried
        say("ok: a line for each device; pruned what no device needs")

    def _deploy(self, bundle: str, *options: str, expect: int = 0) -> Play:
        return self.fleet.play(
            "deploy", *INSTALL, *LENIENT, "-e", f"cfvgg_bundle={bundle}", *options, expect=expect
        )

    def _all(self, bundle: str) -> None:
        found = self.fleet.current()
        assert set(found.values()) == {bundle}, found

    def _untouched(self, before: dict[str, list[str]]) -> None:
        for host, state in before.items():
            now = self.fleet.state(host)
            assert now == state, f"{host}: {sorted(set(now) ^ set(state))}"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    """All checks."""
    fleet = Fleet(Path(sys.argv[1]).resolve())
    (fleet.folder / "cfvgg.toml").write_text(SETTINGS)
    export(sys.executable, fleet.folder)
    checks = Checks(fleet)
    checks.first_rollout()
    checks.second_run()
    checks.check_mode()
    checks.bad_bundle()
    checks.bad_settings()
    checks.unreachable()
    checks.rollback()
    checks.signatures()
    checks.status_and_prune()


if __name__ == "__main__":
    main()
