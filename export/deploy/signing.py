"""Signatures of bundles, by the user's own ssh key or agent."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from edge_runtime.deployment.contents import SIGNATURE_FILE
from edge_runtime.deployment.signatures import NAMESPACE
from edge_runtime.errors import ConfigError, DependencyError
from edge_runtime.files import write_atomic
from edge_runtime.manifest import CHECKSUM_FILE
from export.deploy.package import Package


def signed(package: Package, key: Path) -> Package:
    """A bundle with a signature of its SHA256SUMS, which names the hash of every other file.

    Args:
        package: the bundle.
        key: a private key, or the public one of a key that the user's ssh-agent holds.

    Raises:
        ConfigError: the key cannot sign.
        DependencyError: there is no ssh-keygen.
    """
    if not key.is_file():
        raise ConfigError("there is no key", where=key, fix="make one with ssh-keygen -t ed25519 -f FILE")
    # On its standard input: a file would have ssh-keygen ask whether to replace an older signature.
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key)]
    try:
        done = subprocess.run(command, input=package.files[CHECKSUM_FILE], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise DependencyError("there is no ssh-keygen", fix="install the OpenSSH client") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        fix = "give a private key, or the public one of a key in your agent"
        raise ConfigError(f"cannot sign ({said:.120})", where=key, fix=fix)
    return dataclasses.replace(package, files={**package.files, SIGNATURE_FILE: done.stdout})


def save_signature(package: Package) -> None:
    """Write SHA256SUMS.sig into the bundle's folder. Raises `StorageError`."""
    write_atomic(package.path / SIGNATURE_FILE, package.files[SIGNATURE_FILE])


def signer_line(key: Path) -> str | None:
    """What a device's allowed_signers must say to trust a key; None without its public half."""
    public = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    try:
        kind, data, *comment = public.read_text().split()
    except (OSError, ValueError):
        return None
    name = comment[0] if comment else "cfvgg"
    return f'{name} namespaces="{NAMESPACE}" {kind} {data}'
