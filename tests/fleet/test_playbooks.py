"""The playbooks as Ansible reads them; what they do is checked with real hosts (make fleet-check)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "systemd" / "ansible"
PLAYBOOKS = sorted(path.stem for path in ANSIBLE.glob("*.yml"))
SYNTAX_S = 120.0


def ansible() -> str:
    """`ansible-playbook` of make fleet-check, or of this machine."""
    found = shutil.which("ansible-playbook", path=f"{ROOT / 'build/ansible/bin'}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("no ansible-playbook here (make fleet-check installs it in build/ansible)")
    return found


def test_there_is_a_playbook_for_each_command() -> None:
    assert PLAYBOOKS == ["deploy", "prune", "rollback", "status"]


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_ansible_understands_a_playbook(name: str, tmp_path: Path) -> None:
    command = [ansible(), "-i", "inventory.example.ini", "--syntax-check", f"{name}.yml"]
    environment = os.environ | {"ANSIBLE_HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=ANSIBLE, env=environment, capture_output=True, text=True, check=False, timeout=SYNTAX_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"playbook: {name}.yml" in done.stdout


@pytest.mark.parametrize("name", ["deploy", "rollback"])
def test_what_changes_devices_begins_with_one_and_ends_at_the_first_failure(name: str) -> None:
    text = (ANSIBLE / f"{name}.yml").read_text()
    assert 'serial: [1, "25%"]' in text
    assert "max_fail_percentage: 0" in text


def test_every_variable_that_the_tasks_take_is_explained() -> None:
    role = ANSIBLE / "roles" / "cfvgg"
    tasks = "".join(path.read_text() for path in (*role.glob("tasks/*.yml"), *ANSIBLE.glob("*.yml")))
    explained = (role / "defaults/main.yml").read_text() + (role / "vars/main.yml").read_text()
    explained += "".join(re.findall(r"-e (\w+)=", tasks))
    own = set(re.findall(r"(?:register: |^ +)(cfvgg_\w+)(?::|$)", tasks, re.MULTILINE))
    modules = {path.stem for path in role.glob("library/*.py")}
    used = set(re.findall(r"\bcfvgg_\w+", tasks)) - own - modules
    assert len(used) > 8
    assert {name for name in used if name not in explained} == set()
