from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.revision import git_revision


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    run = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)
    return run.stdout.decode().strip()


def test_only_the_code_that_tracks_makes_a_revision_dirty(tmp_path: Path) -> None:
    code, notes = tmp_path / "edge_runtime" / "kcf.py", tmp_path / "notes.md"
    code.parent.mkdir()
    code.write_text("one")
    notes.write_text("one")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    commit = git(tmp_path, "rev-parse", "HEAD")
    seen = [commit]

    def revision() -> str:
        git_revision.cache_clear()
        return git_revision(tmp_path)

    assert revision() == commit
    notes.write_text("two")
    assert revision() == commit
    for path, text in ((code, "two"), (code, "three"), (code.with_name("new.py"), "one")):
        path.write_text(text)
        assert revision().startswith(f"{commit}-dirty.")
        assert revision() not in seen
        seen.append(revision())


def test_no_checkout(tmp_path: Path) -> None:
    git_revision.cache_clear()
    assert git_revision(tmp_path) == "unknown"
