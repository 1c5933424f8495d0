"""What is sent, and whose signature it carries."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_runtime.deployment.signatures import signer
from edge_runtime.errors import BundleError, ConfigError, SignatureError
from export.deploy.package import CHUNK_BYTES, read_package
from export.deploy.signing import save_signature, signed, signer_line
from tests.edge.bundles import made_up, summed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return made_up(tmp_path / "bundle", size_bytes=3 * CHUNK_BYTES)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is missing (apt install openssh-client)")
    return make_key(tmp_path / "key", "owner@desk")


def make_key(path: Path, comment: str) -> Path:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def test_the_archive_holds_the_files_and_nothing_else(bundle: Path) -> None:
    (bundle / "thumbs.db").write_bytes(b"of some desktop")
    package = read_package(bundle)
    chunks = list(package.chunks())
    assert max(map(len, chunks)) <= CHUNK_BYTES
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        members = tar.getmembers()
        contents = {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
    assert all(
        member.isfile() and (member.uid, member.mode, member.mtime) == (0, 0o644, 0) for member in members
    )
    assert contents == {name: (bundle / name).read_bytes() for name in
                        ("SHA256SUMS", "int8.tflite", "manifest.json", "report/accuracy.json")}  # fmt: skip
    assert package.size_mb == pytest.approx(sum(map(len, contents.values())) / 1e6)
    assert chunks == list(read_package(bundle).chunks())


@pytest.mark.parametrize(
    ("name", "content", "sums", "expected"),
    [
        ("int8.tflite", b"changed", False, "bundle/int8.tflite: checksum does not match SHA256SUMS; "),
        ("int8.tflite", None, False, "bundle/int8.tflite: cannot be read (No such file or directory); "),
        ("SHA256SUMS", None, False, "bundle/SHA256SUMS: cannot be read "),
        ("manifest.json", None, True, "bundle/SHA256SUMS: does not list manifest.json; "),
        ("manifest.json", b"{", True, "manifest.json: names no network and no format; "),
        ("manifest.json", b'{"name": "x"}', True, "manifest.json: names no network and no format; "),
    ],
)
def test_a_damaged_bundle_is_refused(
    bundle: Path, name: str, content: bytes | None, sums: bool, expected: str
) -> None:
    (bundle / name).unlink()
    if content is not None:
        (bundle / name).write_bytes(content)
    if sums:
        summed(bundle)
    with pytest.raises(BundleError) as caught:
        read_package(bundle)
    assert expected in str(caught.value)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle folder; make one with cfvgg-export --int8"):
        read_package(tmp_path / "nothing")


def test_what_is_signed_here_is_trusted_there(bundle: Path, key: Path, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed_signers"
    line = signer_line(key)
    assert line is not None
    assert line.startswith('owner@desk namespaces="cfvgg-bundle" ssh-ed25519 ')
    allowed.write_text(f"{line}\n")
    with pytest.raises(SignatureError, match="is not signed"):
        signer(bundle, allowed)
    before = read_package(bundle)
    save_signature(signed(before, key))
    assert signer(bundle, allowed) == "owner@desk"
    package = read_package(bundle)
    assert package.signed
    assert package.id == before.id
    # Another key's signature takes its place, and is not trusted.
    save_signature(signed(package, make_key(tmp_path / "other", "other")))
    with pytest.raises(SignatureError, match="is signed by no key of "):
        signer(bundle, allowed)


def test_a_damaged_bundle_is_not_signed(bundle: Path, key: Path) -> None:
    (bundle / "int8.tflite").write_bytes(b"changed")
    done = cfvgg_export("sign", str(bundle), "--key", str(key))
    assert done.returncode == 2
    assert done.stderr.startswith(f"cfvgg-export: {bundle}/int8.tflite: checksum does not match")
    assert not (bundle / "SHA256SUMS.sig").exists()


def test_a_key_that_is_none_is_one_line(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no key; make one with ssh-keygen -t ed25519 -f FILE$"):
        signed(read_package(bundle), tmp_path / "nothing")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(ConfigError, match=r"text: cannot sign \(.+\); give a private key"):
        signed(read_package(bundle), tmp_path / "text")
    assert signer_line(tmp_path / "text") is None


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A real ssh-agent of the test's own."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is missing (apt install openssh-client)")
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as process:
        try:
            while not socket.exists():
                assert process.poll() is None
            yield {"SSH_AUTH_SOCK": str(socket)}
        finally:
            process.terminate()


def test_the_agent_signs_where_only_the_public_key_is(
    bundle: Path, key: Path, agent: dict[str, str], tmp_path: Path
) -> None:
    subprocess.run(["ssh-add", "-q", str(key)], check=True, env=os.environ | agent)
    key.unlink()
    done = cfvgg_export("sign", str(bundle), "--key", f"{key}.pub", env=agent)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, line = done.stdout.splitlines()
    assert first == f"signed {bundle}"
    assert second == "devices that are to trust this key need this line in /etc/cfvgg/allowed_signers:"
    (tmp_path / "allowed").write_text(line)
    assert signer(bundle, tmp_path / "allowed") == "owner@desk"


def test_the_commands_need_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['cfvgg-export', 'deploy', '--help']\n"
        "from export.cli import main\n"
        "try: main()\n"
        "finally:\n"
        "  import export.deploy.deployment, export.deploy.connection, export.deploy.signing\n"
        "  print([m for m in ('torch', 'numpy', 'cv2', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "--dry-run" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def cfvgg_export(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    code = "from export.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | (env or {}),
    )  # fmt: skip
