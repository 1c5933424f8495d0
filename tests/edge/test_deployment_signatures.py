"""Bundles that are signed by somebody whom the device trusts, and all the others."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_runtime.deployment import signatures
from edge_runtime.deployment.archive import copy, unpack
from edge_runtime.deployment.contents import SIGNATURE_FILE
from edge_runtime.deployment.facts import listing
from edge_runtime.deployment.signatures import signer
from edge_runtime.deployment.store import Added, Store
from edge_runtime.errors import BundleError, DependencyError, SignatureError
from tests.edge.bundles import id_of, made_up, renamed, tar_of

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys "ours" and "theirs"."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture
def allowed(tmp_path: Path, keys: Path) -> Path:
    path = tmp_path / "allowed_signers"
    key = (keys / "ours.pub").read_text()
    path.write_text(f'ops@example.org,second namespaces="cfvgg-bundle" {key}')
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return made_up(tmp_path / "bundle")


@pytest.fixture
def kept(tmp_path: Path, allowed: Path) -> Store:
    return Store(tmp_path / "store", allowed)


def sign(bundle: Path, key: Path, namespace: str = "cfvgg-bundle") -> Path:
    (bundle / SIGNATURE_FILE).unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key), str(bundle / "SHA256SUMS")]
    subprocess.run(command, check=True, capture_output=True)
    return bundle


def add(kept: Store, bundle: Path) -> Added:
    return kept.add(lambda folder: copy(bundle, folder), lambda: None)


def test_a_signed_bundle_comes_in_and_its_signer_is_known(kept: Store, bundle: Path, keys: Path) -> None:
    added = add(kept, sign(bundle, keys / "ours"))
    assert (added.added, added.signed_by) == (True, "ops@example.org")
    contents, signed_by = kept.check(added.id)
    assert (contents.signed, signed_by) == (True, "ops@example.org")
    assert [b["signed_by"] for b in listing(kept)["bundles"]] == ["ops@example.org"]


def test_without_trusted_keys_everybody_is_trusted(bundle: Path, keys: Path, tmp_path: Path) -> None:
    nobody = tmp_path / "none"
    assert signer(bundle, nobody) is None
    assert signer(sign(bundle, keys / "theirs"), nobody) is None


def test_an_unsigned_bundle(kept: Store, bundle: Path, allowed: Path) -> None:
    with pytest.raises(SignatureError) as caught:
        add(kept, bundle)
    assert f"is not signed, and this device takes signed bundles only ({allowed}); sign" in str(caught.value)
    assert kept.kept() == []


def test_a_key_that_is_not_trusted(kept: Store, bundle: Path, keys: Path) -> None:
    with pytest.raises(SignatureError, match="is signed by no key of"):
        add(kept, sign(bundle, keys / "theirs"))
    assert kept.kept() == []


def test_a_signature_for_something_else(kept: Store, bundle: Path, keys: Path) -> None:
    with pytest.raises(SignatureError, match="its signature is not one of this bundle"):
        add(kept, sign(bundle, keys / "ours", namespace="git"))
    assert kept.kept() == []


def test_a_signature_of_another_bundle(kept: Store, bundle: Path, keys: Path, tmp_path: Path) -> None:
    sign(bundle, keys / "ours")
    other = renamed(bundle, tmp_path / "other", "other")  # takes the signature along
    with pytest.raises(SignatureError, match="its signature is not one of this bundle"):
        add(kept, other)


@pytest.mark.parametrize("text", ["", "no signature", "-----BEGIN SSH SIGNATURE-----\nAAAA\n"])
def test_what_is_no_signature(kept: Store, bundle: Path, text: str) -> None:
    (bundle / SIGNATURE_FILE).write_text(text)
    with pytest.raises(SignatureError, match="is signed by no key of"):
        add(kept, bundle)


def test_a_list_that_names_nobody_trusts_nobody(kept: Store, bundle: Path, keys: Path, allowed: Path) -> None:
    sign(bundle, keys / "ours")
    for text in ("", "# nobody\n", "rubbish\n"):
        allowed.write_text(text)
        with pytest.raises(SignatureError):
            add(kept, bundle)
    allowed.unlink()
    allowed.symlink_to("/nowhere")
    with pytest.raises(SignatureError):
        add(kept, bundle)


def test_a_signed_bundle_that_was_changed_afterwards(kept: Store, bundle: Path, keys: Path) -> None:
    added = add(kept, sign(bundle, keys / "ours"))
    place = kept.folder / added.id
    (place / "int8.tflite").write_bytes(b"evil")
    with pytest.raises(BundleError, match="checksum does not match"):
        kept.check(added.id)
    (place / "SHA256SUMS").write_text((made_up(kept.folder / "m") / "SHA256SUMS").read_text())
    with pytest.raises(BundleError):
        kept.check(added.id)


def test_the_device_gets_a_key_later(kept: Store, bundle: Path, keys: Path, allowed: Path) -> None:
    """The bundle that it has is not signed then; it comes again with a signature."""
    trusted = allowed.read_text()
    allowed.unlink()
    name = add(kept, bundle).id
    allowed.write_text(trusted)
    with pytest.raises(SignatureError, match="is not signed"):
        kept.check(name)
    assert [b["signed_by"] for b in listing(kept)["bundles"]] == [None]
    again = add(kept, sign(bundle, keys / "ours"))
    assert again == Added(name, False, "ops@example.org")
    assert kept.check(name)[1] == "ops@example.org"


def test_a_signature_travels_in_an_archive(kept: Store, bundle: Path, keys: Path) -> None:

    data = tar_of(sign(bundle, keys / "ours"))
    added = kept.add(lambda folder: unpack(io.BytesIO(data), folder), lambda: None)
    assert added == Added(id_of(bundle), True, "ops@example.org")


def test_a_device_without_ssh_keygen(
    kept: Store, bundle: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, keys / "ours")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DependencyError, match="is not installed; sudo apt install openssh-client"):
        add(kept, bundle)


def test_an_ssh_keygen_that_does_not_answer(
    kept: Store, bundle: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(bundle, keys / "ours")
    program = tmp_path / "bin" / "ssh-keygen"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setattr(signatures, "PROGRAM_S", 0.2)
    with pytest.raises(SignatureError, match="ssh-keygen does not answer"):
        add(kept, bundle)
