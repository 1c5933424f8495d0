"""The steps of a deployment and what each may say, against a device that is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import CfvggError, DeploymentError, DeviceError, ServiceError, StorageError
from export.deploy import deployment
from export.deploy.deployment import deploy, rollback
from export.deploy.device import Device, Trial
from export.deploy.facts import screen
from export.deploy.package import Package, read_package
from tests.deploy.bundles import hollow_bundle, write_bundle
from tests.deploy.fake_device import LOST, OLD, OLDER, FakeDevice, refused, stored

TRIAL = Trial(health_s=30)


@pytest.fixture
def fake() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(hollow_bundle(tmp_path / "bundle", "new"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(deployment, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(logging.getLogger("export"), "propagate", True)
    caplog.set_level(logging.INFO, "export")


def test_programs_can_tell_failures_apart() -> None:
    kinds = (DeviceError, StorageError, ServiceError, DeploymentError)
    assert [kind.exit_code for kind in kinds] == [2, 4, 5, 7]


def test_the_whole_way(fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture) -> None:
    deploy(Device(fake), package, Trial(45, 20, 30.5))
    limits = ["--health-s", "45", "--min-rate-hz", "20", "--max-p95-ms", "30.5", "--lifeline", "--json"]
    assert [arguments for arguments, _ in fake.asked] == [
        ["facts", "--json", "--quick"],
        ["facts", "--json"],
        ["add", "-", "--id", package.id, "--json"],
        ["use", package.id, *limits],
    ]
    assert not any(sudo for _, sudo in fake.asked)
    assert fake.held == ["use"]
    assert fake.received == dict(package.files)
    assert [record.getMessage() for record in caplog.records] == [
        "pi: Debian 12, aarch64, cfvgg 0.1.0, 5000 MB free",
        "service   active, 29.9 Hz, p95 21.0 ms, up 6 min 40 s, 0 restarts",
        f"sending new {package.id[:12]}, 0.0 MB",
        f"trying new {package.id[:12]} in the place of old {OLD[:12]}",
        "  switching",
        "  health 30/30 s: 30.0 Hz, p95 20 ms",
        f"pi runs new {package.id[:12]}: 29.8 Hz, p95 20.1 ms",
    ]


def test_who_is_not_root_uses_sudo(fake: FakeDevice, package: Package) -> None:
    fake.facts["uid"] = 1000
    deploy(Device(fake), package, TRIAL)
    assert [(arguments[0], sudo) for arguments, sudo in fake.asked] == [
        ("facts", False), ("facts", True), ("add", True), ("use", True),
    ]  # fmt: skip


def test_what_is_there_is_not_sent_again(fake: FakeDevice, package: Package) -> None:
    fake.facts["bundles"].append(stored(package.id, "new", 0))
    fake.facts["free_mb"] = 1
    deploy(Device(fake), package, TRIAL)
    assert fake.changes == ["use"]


def test_what_is_in_use_is_left_alone(
    fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    fake.facts["bundles"].append(stored(package.id, "new", 0))
    fake.facts["current"] = package.id
    deploy(Device(fake), package, TRIAL)
    assert fake.changes == []
    assert caplog.messages[-1] == f"pi runs new {package.id[:12]} already"
    fake.facts["service"]["active"] = False
    with pytest.raises(DeviceError, match=r"in use already, but its service does not run; on the device: "):
        deploy(Device(fake), package, TRIAL)
    # Left on trial by a deployment that was cut off: it is not in use.
    fake.facts["trial"] = package.id
    deploy(Device(fake), package, TRIAL)
    assert fake.changes == ["use"]


def test_a_bundle_that_lacks_the_signature_there_is_sent_again(
    fake: FakeDevice, package: Package, tmp_path: Path
) -> None:
    fake.facts["bundles"].append(stored(package.id, "new", 0))
    fake.facts["signers"] = True
    (tmp_path / "bundle" / "SHA256SUMS.sig").write_bytes(b"signature")
    signed = read_package(tmp_path / "bundle")
    assert signed.id == package.id
    deploy(Device(fake), signed, TRIAL)
    assert fake.changes == ["add", "use"]
    assert fake.received["SHA256SUMS.sig"] == b"signature"


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
    package = read_package(write_bundle(tmp_path / "later", {"manifest.json": manifest}))
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
        fake.replies["facts"] = [refused(0)]
        fake.replies["facts"] = [type(LOST)(0, output)]
        assert "has not answered in JSON but with " in refusal(fake, package)


def test_keys_of_later_versions_are_passed_over(fake: FakeDevice, package: Package) -> None:
    fake.facts |= {"later": {"x": 1}}
    fake.facts["service"]["later"] = fake.facts["bundles"][0]["later"] = 2
    deploy(Device(fake), package, TRIAL)
    assert fake.facts["current"] == package.id


def test_what_doctor_finds_is_shown(
    fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    fake.facts["doctor"] = [
        {"check": "clock", "result": "warning", "detail": "not synchronised", "fix": "set-ntp true"},
        {"check": "power", "result": "failure", "detail": "undervoltage now", "fix": None},
    ]
    deploy(Device(fake), package, TRIAL)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        "doctor there: clock: not synchronised (fix: set-ntp true)",
        "doctor there: power: undervoltage now",
    ]


def test_a_dry_run_asks_and_changes_nothing(
    fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(Device(fake), package, TRIAL, dry_run=True)
    assert caplog.messages[-1] == (
        f"would send 0.0 MB, put new {package.id[:12]} in the place of old {OLD[:12]}, and watch it for "
        "30 s; nothing was changed"
    )
    rollback(Device(fake), TRIAL, dry_run=True)
    assert caplog.messages[-1] == (
        f"would put older {OLDER[:12]} in the place of old {OLD[:12]}, and watch it for 30 s; nothing "
        "was changed"
    )
    assert fake.changes == []
    fake.facts["machine"] = "armv7l"
    with pytest.raises(DeviceError):
        deploy(Device(fake), package, TRIAL, dry_run=True)


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (refused(4, "cfvgg-edge: /store: cannot be written (No space left on device); free space"),
         StorageError, "pi: /store: cannot be written (No space left on device); free space"),
        (refused(2, "cfvgg-edge: manifest.json: checksum does not match SHA256SUMS; send it again"),
         DeviceError, "pi: manifest.json: checksum does not match SHA256SUMS; send it again"),
        (refused(2, "cfvgg-edge: .lock: another command is changing bundles; wait for it"),
         DeviceError, "pi: .lock: another command is changing bundles; wait for it"),
        (LOST, ServiceError,
         "pi: the connection was lost while sending (Connection to pi closed by remote host.); nothing was "
         "changed there; deploy again"),
        (type(LOST)(0, b'{"id": "other"}'), DeviceError, "pi: has taken in 'other', not "),
    ],
)  # fmt: skip
def test_what_sending_may_say(
    fake: FakeDevice, package: Package, answer: Any, kind: type[CfvggError], expected: str
) -> None:
    fake.replies["add"] = [answer]
    with pytest.raises(kind) as caught:
        deploy(Device(fake), package, TRIAL)
    assert str(caught.value).startswith(expected)
    assert fake.changes == ["add"]


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (refused(7, "cfvgg-edge: going back: slow", "cfvgg-edge: bundle x failed: slow; bundle y runs again"),
         DeploymentError, "pi: bundle x failed: slow; bundle y runs again"),
        (refused(2, "cfvgg-edge: opening bundle x", "cfvgg-edge: /store/x: cannot be used here: no int8"),
         DeviceError, "pi: /store/x: cannot be used here: no int8"),
    ],
)  # fmt: skip
def test_what_a_trial_may_say(
    fake: FakeDevice, package: Package, answer: Any, kind: type[CfvggError], expected: str
) -> None:
    fake.replies["use"], fake.replies["rollback"] = [answer], [answer]
    with pytest.raises(kind) as caught:
        deploy(Device(fake), package, TRIAL)
    assert str(caught.value) == expected
    with pytest.raises(kind) as caught:
        rollback(Device(fake), TRIAL)
    assert str(caught.value) == expected
    assert fake.facts["current"] == OLD


def lost_after(change: Callable[[], None]) -> Callable[[], Any]:
    def reply() -> Any:
        change()
        return LOST

    return reply


def test_a_connection_lost_in_the_trial_is_looked_into(
    fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    busy = refused(2, "cfvgg-edge: .lock: another command is changing bundles; wait for it")
    fake.replies["use"] = [LOST]
    fake.replies["prune"] = [LOST, busy]
    with pytest.raises(DeploymentError) as caught:
        deploy(Device(fake), package, TRIAL)
    assert str(caught.value) == (
        f"pi: the connection was lost during the trial, old {OLD[:12]} is in use again; deploy again"
    )
    assert fake.changes == ["add", "use", "prune", "prune", "prune"]
    assert fake.asked[4][0] == ["prune", "--keep", "1000", "--json"]  # which only ends what was cut off
    assert "Connection to pi closed by remote host." in caplog.text


def test_a_connection_lost_after_the_trial_is_no_failure(
    fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    fake.replies["use"] = [lost_after(lambda: fake.facts.update(current=package.id, previous=OLD))]
    deploy(Device(fake), package, TRIAL)
    assert caplog.messages[-2:] == [
        "the connection was lost after the trial had succeeded",
        f"pi runs new {package.id[:12]}",
    ]


def test_a_device_that_stays_away_is_said_to_go_back(
    fake: FakeDevice, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "AFTERMATH_S", 0.0)
    fake.replies["use"] = fake.replies["prune"] = [LOST, LOST]
    with pytest.raises(ServiceError) as caught:
        deploy(Device(fake), package, TRIAL)
    assert str(caught.value) == (
        "pi: the connection was lost during the trial (Connection to pi closed by remote host.), and the "
        "device is not back since; it goes back to the old bundle by itself; look with "
        "cfvgg-export deployed pi"
    )


def test_rollback(fake: FakeDevice, caplog: pytest.LogCaptureFixture) -> None:
    rollback(Device(fake), TRIAL)
    assert fake.asked[-1][0] == ["rollback", "--health-s", "30", "--lifeline", "--json"]
    assert fake.held == ["rollback"]
    assert fake.facts["current"] == OLDER
    assert f"putting older {OLDER[:12]} in the place of old {OLD[:12]}" in caplog.messages
    assert caplog.messages[-1] == f"pi runs older {OLDER[:12]}: 29.8 Hz, p95 20.1 ms"
    fake.facts["previous"] = None
    with pytest.raises(DeviceError, match="pi: has no previous bundle to go back to"):
        rollback(Device(fake), TRIAL)


def test_the_screen_of_a_device(fake: FakeDevice) -> None:
    fake.facts["bundles"][0]["signed_by"] = "me"
    fake.facts["bundles"][0]["added_unix"] = 1.8e9
    lines = screen("pi", Device(fake).facts()).splitlines()
    assert lines[:2] == [
        "pi: Debian 12, aarch64, cfvgg 0.1.0, 5000 MB free",
        "service   active, 29.9 Hz, p95 21.0 ms, up 6 min 40 s, 0 restarts",
    ]
    assert lines[2].startswith(f"current   {OLD[:12]}  old, 1.3 MB, added 2027-01-15 ")
    assert lines[2].endswith(", signed by me")
    assert lines[3].startswith(f"previous  {OLDER[:12]}  older, 1.3 MB, added 2020-09-13 ")
    fake.facts |= {"bundles": [], "service": {"installed": False, "active": False}}
    assert screen("pi", Device(fake).facts()).splitlines()[1:] == [
        "service   not installed",
        "bundles   none",
    ]


def refusal(fake: FakeDevice, package: Package) -> str:
    """What a deployment says that must change nothing."""
    with pytest.raises(DeviceError) as caught:
        deploy(Device(fake), package, TRIAL)
    assert fake.changes == []
    assert caught.value.exit_code == 2
    return str(caught.value)
