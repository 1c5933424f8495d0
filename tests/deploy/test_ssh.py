"""Deploying through a real sshd with key authentication, from the command line to the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import DeviceError
from export.deploy.package import read_package
from export.deploy.signing import save_signature, signed, signer_line
from tests.deploy.bundles import Bundles
from tests.deploy.loopback import EASY, Loopback
from tests.deploy.test_package import make_key

LIMITS = ("--health-s", "2", "--min-rate-hz", "0.1", "--max-p95-ms", "60000")


def test_deploy_look_go_back_and_tidy_up(empty: Loopback, bundles: Bundles) -> None:
    old, new = str(bundles.old), str(bundles.new)
    before = empty.tree()
    first = empty.command("deploy", old, *LIMITS, "--dry-run")
    assert first.returncode == 0, first.stderr
    assert empty.tree() == before == {}
    assert " MB, put old " in first.stdout
    assert "in the place of no bundle" in first.stdout
    done = empty.command("deploy", old, *LIMITS)
    assert done.returncode == 0, done.stderr
    assert empty.runs("old")
    done = empty.command("deploy", new, *LIMITS)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    said = [line.split()[0] for line in lines if line.startswith("  ")]
    assert said[:2] == ["opening", "switching"]
    assert "health" in said
    assert lines[-1].startswith(f"{empty.sshd.host} runs new ")
    assert empty.runs("new")
    listing = empty.command("list")
    assert listing.stderr == ""
    roles = {line.split()[0]: line.split()[2] for line in listing.stdout.splitlines()[2:]}
    assert roles == {"current": "new,", "previous": "old,"}
    again = empty.command("deploy", new, *LIMITS)
    assert again.stdout.splitlines()[-1].endswith(" already")
    tree = empty.tree()
    assert empty.command("rollback", *LIMITS, "--dry-run").returncode == 0
    assert empty.tree() == tree
    assert empty.command("rollback", *LIMITS).returncode == 0
    assert empty.runs("old")
    assert empty.command("prune", "--keep", "0").stdout == "nothing to remove\n"


def test_old_bundles_are_removed_and_the_names_are_said(device: Loopback, bundles: Bundles) -> None:
    device.deploy(bundles.new)
    device.deploy(bundles.named("third"))
    done = device.command("prune", "--keep", "1")
    assert done.stdout.startswith("removed old "), done.stderr
    assert done.stdout.count("\n") == 1
    assert {bundle.name for bundle in device.device().facts().bundles} == {"new", "third"}


def test_only_what_a_trusted_key_has_signed_is_taken(
    device: Loopback, bundles: Bundles, tmp_path: Path
) -> None:
    key, other = make_key(tmp_path / "key", "owner@desk"), make_key(tmp_path / "other", "other")
    line = signer_line(key)
    assert line is not None
    device.signers.write_text(f"{line}\n")
    bundle = bundles.named("signed")
    tree = device.tree()
    done = device.command("deploy", str(bundle), *LIMITS)
    assert done.returncode == 2
    assert "takes signed bundles only" in done.stderr
    done = device.command("deploy", str(bundle), *LIMITS, "--sign", str(key), "--dry-run")
    assert done.returncode == 0
    assert not (bundle / "SHA256SUMS.sig").exists()
    done = device.command("deploy", str(bundle), *LIMITS, "--sign", str(other))
    assert done.returncode == 2
    assert "is signed by no key of " in done.stderr
    assert device.tree().keys() == tree.keys()
    assert device.runs("old")
    done = device.command("deploy", str(bundle), *LIMITS, "--sign", str(key))
    assert done.returncode == 0, done.stderr
    assert device.runs("signed")
    assert "signed by owner@desk" in device.command("list").stdout


def test_a_signature_of_other_files_is_refused(device: Loopback, bundles: Bundles, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key", "owner@desk")
    device.signers.write_text(f"{signer_line(key)}\n")
    bundle = bundles.named("signed too")
    device.deploy(_signed(bundle, key), EASY)
    # Changed afterwards, with true checksums: only the signature tells.
    changed = bundles.named("changed")
    (changed / "SHA256SUMS.sig").write_bytes((bundle / "SHA256SUMS.sig").read_bytes())
    with pytest.raises(DeviceError, match="its signature is not one of this bundle"):
        device.deploy(changed, EASY)
    assert device.runs("signed too")


def test_a_format_that_only_later_versions_know_is_refused(device: Loopback, bundles: Bundles) -> None:
    later = bundles.named("later", format="cfvgg-bundle/9")
    tree = device.tree()
    with pytest.raises(DeviceError, match=r"reads bundles of format cfvgg-bundle/1, .+ has cfvgg-bundle/9"):
        device.deploy(later)
    assert device.tree() == tree
    # And if it were sent all the same.
    with pytest.raises(DeviceError, match="has format 'cfvgg-bundle/9', expected 'cfvgg-bundle/1'"):
        device.device().add(read_package(later))
    assert device.runs("old")


@pytest.mark.parametrize(
    ("remote_command", "expected"),
    [
        ("no-such-edge", "has no cfvgg-edge; install it (docs/deploy.md), or say where it is with "),
        ("cfvgg-edge config", "its cfvgg-edge is too old (No such command 'bundle'); update it there "),
        ("echo Welcome", "has not answered in JSON but with 'Welcome"),
    ],
)
def test_a_far_end_that_is_no_device_is_one_line(
    empty: Loopback, bundles: Bundles, remote_command: str, expected: str
) -> None:
    done = empty.command("deploy", str(bundles.old), "--remote-command", remote_command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"cfvgg-export: {empty.sshd.host}: {expected}")
    assert done.stderr.count("\n") == 1


def test_a_device_that_is_not_there_is_one_line(empty: Loopback, bundles: Bundles) -> None:
    empty.sshd.stop()
    done = empty.command("deploy", str(bundles.old))
    assert done.returncode == 5
    assert "Connection refused; does `ssh " in done.stderr
    assert done.stderr.count("\n") == 1


def _signed(bundle: Path, key: Path) -> Path:
    save_signature(signed(read_package(bundle), key))
    return bundle
