"""Who signed a bundle: ssh signatures, checked by OpenSSH's own program.

SHA256SUMS names the hash of every other file, so a signature of it is one of the whole bundle.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edge_runtime.deployment.contents import SIGNATURE_FILE
from edge_runtime.errors import DependencyError, SignatureError
from edge_runtime.manifest import CHECKSUM_FILE

NAMESPACE = "cfvgg-bundle"
PROGRAM_S = 30.0
SIGN = "sign it: cfvgg-export sign BUNDLE --key KEY"


def signer(folder: Path, allowed: Path) -> str | None:
    """Who signed a bundle, by the name in `allowed`; None if the device trusts everybody.

    Args:
        folder: the bundle's.
        allowed: trusted keys, see ALLOWED SIGNERS in ssh-keygen(1); without the file nothing is checked.

    Raises:
        SignatureError: there is no signature, or none of SHA256SUMS as it is by a trusted key.
        DependencyError: ssh-keygen is not installed.
    """
    if not trusted(allowed):
        return None
    signature = folder / SIGNATURE_FILE
    if not signature.is_file():
        what = f"is not signed, and this device takes signed bundles only ({allowed})"
        raise SignatureError(what, where=folder, fix=SIGN)
    sums = (folder / CHECKSUM_FILE).read_bytes()
    found = _ssh_keygen(b"", "find-principals", "-s", signature, "-f", allowed)
    if found.returncode:
        why = _reason(found)
        raise SignatureError(f"is signed by no key of {allowed}{why}", where=folder, fix=f"{SIGN}, or add it")
    # A key may be listed more than once, under several names.
    why = ""
    for line in found.stdout.decode(errors="replace").splitlines():
        name = line.split(",")[0].strip()
        checked = _ssh_keygen(sums, "verify", "-n", NAMESPACE, "-f", allowed, "-I", name, "-s", signature)
        if not checked.returncode:
            return name
        why = _reason(checked)
    raise SignatureError(f"its signature is not one of this bundle{why}", where=folder, fix=SIGN)


def trusted(allowed: Path) -> bool:
    """Whether the device has a list of trusted keys, even one that cannot be read or names nobody."""
    return os.path.lexists(allowed)


def _ssh_keygen(data: bytes, what: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    command = ["ssh-keygen", "-Y", what, *map(str, arguments)]
    try:
        return subprocess.run(
            command,
            input=data,
            capture_output=True,
            check=False,
            timeout=PROGRAM_S,
            start_new_session=True,  # an interrupt is for us to handle
            env=os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        fix = "sudo apt install openssh-client"
        raise DependencyError("ssh-keygen, which checks signatures, is not installed", fix=fix) from error
    except subprocess.TimeoutExpired as error:
        raise SignatureError("ssh-keygen does not answer", where=arguments[-1]) from error


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f" ({last:.120})" if last else ""
