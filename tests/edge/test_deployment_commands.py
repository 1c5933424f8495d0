"""`cfvgg-edge bundle` in this process: what it prints, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_runtime import cli
from edge_runtime.deployment import facts as about
from edge_runtime.deployment.text import facts_text
from edge_runtime.doctor.checks import Check, ok, warning
from tests.edge.bundles import id_of, made_up, tar_of

Edge = Callable[..., tuple[int, str, str]]


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Edge:
    """Run `cfvgg-edge bundle` without a systemd; exit code, output, errors."""
    monkeypatch.setenv("CFVGG_BUNDLES_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("CFVGG_ALLOWED_SIGNERS", str(tmp_path / "allowed_signers"))
    monkeypatch.setenv("CFVGG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PATH", str(tmp_path / "no programs"))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cfvgg-edge", "bundle", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        sys.stdout.flush()
        code = caught.value.code
        return code if isinstance(code, int) else 0, *capfd.readouterr()

    return call


def test_adding_listing_and_removing(edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, second = made_up(tmp_path / "bundle"), made_up(tmp_path / "second", "second")
    assert edge("list") == (0, "no bundles\n", "")
    assert edge("add", bundle) == (0, f"bundle {id_of(bundle)[:12]} added\n", "")
    assert edge("add", bundle)[1] == f"bundle {id_of(bundle)[:12]} was here already\n"
    (tmp_path / "second.tar").write_bytes(tar_of(second))
    with (tmp_path / "second.tar").open("rb") as archive:
        monkeypatch.setattr(sys, "stdin", archive)
        code, out, err = edge("add", "-", "--id", id_of(second), "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"id": id_of(second), "added": True, "signed_by": None}

    code, out, err = edge("list", "--json")
    found = json.loads(out)
    assert (code, err, found["current"], found["previous"], found["trial"]) == (0, "", None, None, None)
    assert {b["id"]: b["name"] for b in found["bundles"]} == {
        id_of(bundle): "made up",
        id_of(second): "second",
    }
    size_bytes = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
    assert {b["size_bytes"] for b in found["bundles"] if b["id"] == id_of(bundle)} == {size_bytes}
    assert len(edge("list")[1].splitlines()) == 2
    code, out, err = edge("prune", "--keep", 0, "--json")
    assert (code, err, set(json.loads(out)["removed"])) == (0, "", {id_of(bundle), id_of(second)})
    assert edge("prune") == (0, "nothing to remove\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "nowhere"), "nowhere: is not a bundle folder; make one with cfvgg-export --int8"),
        (("use", "0123abcd"), "store: no bundle is called 0123abcd; cfvgg-edge bundle list shows them"),
        (("use", "abc"), "'abc' is no bundle's id; give 8 digits of it or more"),
        (("rollback",), "store: there is no bundle to go back to"),
    ],
)
def test_what_is_refused_is_one_line(edge: Edge, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = edge(*arguments, *(("--json",) if arguments[0] != "add" else ()))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("cfvgg-edge: ")
    assert said in err


def test_a_machine_without_a_service_has_nothing_to_try_on(edge: Edge, tmp_path: Path) -> None:
    bundle = made_up(tmp_path / "bundle")
    edge("add", bundle)
    code, out, err = edge("use", id_of(bundle))
    assert (code, out) == (2, "")
    assert err == (
        "cfvgg-edge: the service is not installed; sudo cfvgg-edge service install, or use --no-restart\n"
    )


def test_facts_of_a_machine(edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[Check] = [ok("Python", "fine"), warning("clock", "not synchronised", "set it")]
    monkeypatch.setattr("edge_runtime.doctor.examine.examine", lambda *_: iter(checks))
    bundle = made_up(tmp_path / "bundle")
    edge("add", bundle)
    (tmp_path / "allowed_signers").write_text("")
    code, out, err = edge("facts", "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    assert set(found) == {
        "schema", "cfvgg", "machine", "os", "python", "uid", "store", "free_mb", "manifest_schema", "runtime",
        "signers", "service", "current", "previous", "trial", "bundles", "doctor",
    }  # fmt: skip
    assert found["schema"] == "cfvgg-facts/1"
    assert found["manifest_schema"] == "cfvgg-bundle/1"
    assert found["machine"] == platform.machine()
    assert found["signers"] is True
    assert found["free_mb"] > 0
    assert found["store"] == str(tmp_path / "store")
    assert found["service"] == {
        "installed": False, "active": False, "restarts": None, "rate_hz": None, "p95_ms": None,
        "uptime_s": None,
    }  # fmt: skip
    assert [(b["id"], b["signed_by"]) for b in found["bundles"]] == [(id_of(bundle), None)]
    expected = {"check": "clock", "result": "warning", "detail": "not synchronised", "fix": "set it"}
    assert found["doctor"] == [expected]
    assert "warning   clock: not synchronised; set it" in edge("facts")[1]
    assert json.loads(edge("facts", "--quick", "--json")[1])["doctor"] == []


def test_facts_as_a_person_reads_them() -> None:
    digest = hashlib.sha256(b"").hexdigest()
    text = facts_text(
        {
            "machine": "aarch64", "os": {"pretty": "Debian 12"}, "python": "3.11.2", "cfvgg": "0.1.0",
            "manifest_schema": "cfvgg-bundle/1", "runtime": {"name": "tflite-runtime", "version": "2.14"},
            "store": "/s", "free_mb": 7, "signers": True, "current": digest, "previous": None,
            "trial": digest,
            "service": {"installed": True, "active": True, "restarts": 1, "rate_hz": 29.9, "p95_ms": 21.2,
                        "uptime_s": 61.0},
            "bundles": [{"id": digest, "name": "n", "added_unix": 0.0, "size_bytes": 1_500_000,
                         "signed_by": "ops"}],
            "doctor": [],
        }
    )  # fmt: skip
    assert text.splitlines() == [
        "machine   aarch64, Debian 12, Python 3.11.2",
        "cfvgg     0.1.0, bundles of cfvgg-bundle/1, tflite-runtime 2.14",
        "store     /s, 7 MB free",
        "signed    bundles must be",
        "service   active; 1 restarts; up 1 min 1 s; 29.9 Hz; p95 21.2 ms",
        f"bundle    {digest[:12]}  on trial  1970-01-01 00:00 UTC    1.5 MB  n  signed by ops",
    ]


def test_a_folder_that_nobody_can_look_into_has_facts_too(
    edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = made_up(tmp_path / "bundle")
    edge("add", bundle)
    place = tmp_path / "store" / id_of(bundle)
    (place / "manifest.json").write_text("rubbish")
    monkeypatch.setattr(about, "_version", lambda _: None)
    found = json.loads(edge("facts", "--quick", "--json")[1])
    assert found["bundles"][0]["name"] == "unreadable"
    assert found["cfvgg"] is None
