"""Facts of a device that tracks with cfvgg."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cfvgg_edge import Program, summary

DOCUMENTATION = r"""
module: cfvgg_facts
short_description: What a device says of its cfvgg service and bundles
description:
  - The answer of C(cfvgg-edge bundle facts --json), as the fact C(cfvgg), with C(installed) beside it.
  - Changes nothing.
  - C(summary) in it is the device in one line.
options:
  doctor:
    description: Whether the device looks for troubles as well, which takes some seconds.
    type: bool
    default: false
  program:
    description: The device's program.
    type: str
    default: cfvgg-edge
author: cfvgg
"""

EXAMPLES = r"""
- name: Ask the device
  cfvgg_facts:

- name: Say which bundle it runs
  ansible.builtin.debug:
    var: cfvgg.current
"""

RETURN = r"""
ansible_facts:
  description: C(cfvgg), see C(cfvgg-edge bundle facts --help).
  returned: always
  type: dict
"""


OPTIONS: dict[str, Any] = {
    "doctor": {"type": "bool", "default": False},
    "program": {"default": "cfvgg-edge"},
}


def main() -> None:
    """Ask, and answer."""
    module = AnsibleModule(OPTIONS, supports_check_mode=True)
    facts = Program(module).facts(doctor=module.params["doctor"])
    module.exit_json(changed=False, ansible_facts={"cfvgg": facts | {"summary": summary(facts)}})


if __name__ == "__main__":
    main()
