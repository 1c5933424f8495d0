"""The steps of a deployment and what each may say, against a device that is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.deployment.health import Limits
from edge_runtime.errors import CfvggError, DeploymentError, DeviceError, ServiceError, StorageError
from export.deploy import deployment
from export.deploy.connection import Answer
from export.deploy.deployment import deploy, rollback
from export.deploy.device import Device
from export.deploy.facts import screen
from export.deploy.package import Package, read_package
from tests.deploy.fake_device import LOST, OLD, OLDER, FakeDevice, refused, stored

TRIAL = Limits(health_s=30)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(deployment, "ASK_AGAIN_S", 0.0)
    monkeypatch.setattr(logging.getLogger("export"), "propagate", True)
    caplog.set_level(logging.INFO, "export")


def test_programs_can_tell_failures_apart() -> None:
    kinds = (DeviceError, StorageError, ServiceError, DeploymentError)
    assert [kind.exit_code for kind in kinds] == [2, 4, 5, 7]


def test_the_whole_way(fake: FakeDevice, package: Package, caplog: pytest.LogCaptureFixture) -> None:
    deploy(Device(fake), package, Limits(45, 20, 30.5))
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
        (Answer(0, b'{"id": "other"}'), DeviceError, "pi: has taken in 'other', not "),
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
        "cfvgg-export list pi"
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
