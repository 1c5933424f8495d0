"""What is refused before anything is sent, against a device that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_runtime.deployment.health import Limits
from edge_runtime.errors import CfvggError, DeviceError, ServiceError
from export.deploy.connection import Answer
from export.deploy.deployment import deploy
from export.deploy.device import Device
from export.deploy.package import Package, read_package
from tests.deploy.fake_device import FakeDevice, refused
from tests.edge.bundles import summed

TRIAL = Limits(health_s=30)


@pytest.mark.parametrize("machine", ["armv7l", "armv6l", "i686"])
def test_32_bits_are_refused(fake: FakeDevice, package: Package, machine: str) -> None:
    fake.facts["machine"] = machine
    expected = f"pi: is {machine}, and cfvgg needs 64 bits; install the 64-bit Raspberry Pi OS"
    assert refusal(fake, package) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"service": {"installed": False, "active": False}},
         "has no service that would run the bundle; on the device: sudo cfvgg-edge service install --now"),
        ({"manifest_schema": "cfvgg-bundle/0"},
         "its cfvgg 0.1.0 reads bundles of format cfvgg-bundle/0, BUNDLE has cfvgg-bundle/1; update cfvgg "
         "there, or export the bundle with the same version"),
        ({"runtime": None},
         "has no TFLite runtime; install cfvgg there with its extra `edge` (docs/deploy.md)"),
        ({"signers": True}, "takes signed bundles only, and BUNDLE is not signed; deploy with --sign KEY"),
        ({"free_mb": 12},
         "has 12 MB free in /var/lib/cfvgg-bundles, this bundle needs 20; cfvgg-export prune pi, or delete "
         "old records there"),
        ({"schema": "cfvgg-facts/2"},
         "answers in 'cfvgg-facts/2', and 'cfvgg-facts/1' is known here; have the same version of cfvgg here "
         "and there"),
        ({"uid": "root"}, "facts: uid = 'root' has the wrong type; use int"),
    ],
)  # fmt: skip
def test_a_device_that_will_not_do_is_refused(
    fake: FakeDevice, package: Package, changed: dict[str, Any], expected: str
) -> None:
    fake.facts |= changed
    assert refusal(fake, package) == f"pi: {expected.replace('BUNDLE', str(package.path))}"


def test_a_bundle_of_a_later_format_is_refused(fake: FakeDevice, tmp_path: Path) -> None:
    manifest = b'{"format": "cfvgg-bundle/2", "name": "later", "and": "more"}'
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "manifest.json").write_bytes(manifest)
    package = read_package(summed(tmp_path / "later"))
    assert "reads bundles of format cfvgg-bundle/1" in refusal(fake, package)
    fake.facts["manifest_schema"] = "cfvgg-bundle/2"
    deploy(Device(fake), package, TRIAL)
    assert fake.facts["current"] == package.id


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (refused(255, "ssh: Could not resolve hostname pi: Name or service not known"), ServiceError,
         "pi: ssh: Could not resolve hostname pi: Name or service not known; does `ssh pi` work, without "
         "asking anything?"),
        (refused(-9), ServiceError, "pi: the connection ended with status -9; does `ssh pi` work, "),
        (refused(127, "bash: line 1: cfvgg-edge: command not found"), DeviceError,
         "pi: has no cfvgg-edge; install it (docs/deploy.md), or say where it is with --remote-command"),
        (refused(2, "Usage: cfvgg-edge bundle [OPTIONS]", "Error: No such command 'facts'."), DeviceError,
         "pi: its cfvgg-edge is too old (No such command 'facts'); update it there (docs/deploy.md)"),
        (refused(2, "Usage: cfvgg-edge bundle [OPTIONS]", "Error: No such option: --quick"), DeviceError,
         "pi: its cfvgg-edge is too old (No such option: --quick); update it there (docs/deploy.md)"),
        (refused(1, "sudo: a password is required"), DeviceError,
         "pi: a password is required; let this user run `cfvgg-edge bundle` by sudo without a password"),
        (refused(2, "cfvgg-edge: /etc/x: is bad; mend it", "bash: warning"), DeviceError,
         "pi: /etc/x: is bad; mend it"),
        (refused(3), DeviceError, "pi: has ended with status 3"),
    ],
)  # fmt: skip
def test_what_the_first_command_may_say(
    fake: FakeDevice, package: Package, answer: Any, kind: type[CfvggError], expected: str
) -> None:
    fake.replies["facts"] = [answer]
    with pytest.raises(kind) as caught:
        deploy(Device(fake), package, TRIAL)
    assert str(caught.value).startswith(expected)
    assert fake.changes == []


def test_a_shell_that_talks_is_named(fake: FakeDevice, package: Package) -> None:
    for output in (b"Welcome!\n{}", b"[]", b"", b"\xff"):
        fake.replies["facts"] = [Answer(0, output)]
        assert "has not answered in JSON but with " in refusal(fake, package)


def test_keys_of_later_versions_are_passed_over(fake: FakeDevice, package: Package) -> None:
    fake.facts |= {"later": {"x": 1}}
    fake.facts["service"]["later"] = fake.facts["bundles"][0]["later"] = 2
    deploy(Device(fake), package, TRIAL)
    assert fake.facts["current"] == package.id


def refusal(fake: FakeDevice, package: Package) -> str:
    """What a deployment says that must change nothing."""
    with pytest.raises(DeviceError) as caught:
        deploy(Device(fake), package, TRIAL)
    assert fake.changes == []
    assert caught.value.exit_code == 2
    return str(caught.value)
