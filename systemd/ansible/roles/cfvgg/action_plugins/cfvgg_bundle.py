"""The controller's half of `cfvgg_bundle`: the bundle's identity, and its way to the device."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"


class ActionModule(ActionBase):  # type: ignore[misc] # ansible has no type information
    """Copies a bundle only to a device that lacks it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the device what it has, copy what is missing, and let its module do the rest."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = dict(self._task.args)
        if options.get("state", "current") not in ("present", "current"):
            return result | self._execute_module(module_args=options, task_vars=task_vars)
        folder = self._folder(options.pop("src", None))
        options["id"] = identity = verified(folder)
        asked = {"program": options["program"]} if "program" in options else {}
        answer = self._execute_module(module_name="cfvgg_facts", module_args=asked, task_vars=task_vars)
        if answer.get("failed"):
            return result | answer
        facts = answer["ansible_facts"]["cfvgg"]
        there = {bundle["id"]: bundle["signed_by"] for bundle in facts["bundles"]}
        options["add"] = identity not in there
        if facts.get("signers"):
            if not (folder / SIGNATURE).is_file():
                raise AnsibleActionFail(
                    f"{folder}: the device takes signed bundles only; cfvgg-export sign {folder}"
                )
            options["add"] = there.get(identity) is None  # it may be there from before, unsigned
        if options["add"] and not self._task.check_mode:
            options["archive"] = self._copy(folder)
        try:
            return result | self._execute_module(module_args=options, task_vars=task_vars)
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _folder(self, src: str | None) -> Path:
        if not src:
            raise AnsibleActionFail("src is missing: the folder of a bundle, from cfvgg-export")
        try:
            return Path(self._find_needle("files", src))
        except AnsibleError as error:
            raise AnsibleActionFail(f"{src}: is not there; give the folder of a bundle") from error

    def _copy(self, folder: Path) -> str:
        """Where the device has an archive of the folder, until the task ends."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        place: str = self._connection._shell.join_path(self._connection._shell.tmpdir, "bundle.tar")
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                for path in sorted(folder.rglob("*")):
                    archive.add(path, path.relative_to(folder).as_posix(), recursive=False)
            file.flush()
            self._transfer_file(file.name, place)
        self._fixup_perms2((self._connection._shell.tmpdir, place))
        return place


def verified(folder: Path) -> str:
    """The identity of a bundle whose files are what its checksums say.

    Raises:
        AnsibleActionFail: they are not, or it is no bundle.
    """
    try:
        sums = (folder / SUMS).read_bytes()
        for line in sums.decode().splitlines():
            wanted, name = line.split(maxsplit=1)
            if hashlib.sha256((folder / name.lstrip("*")).read_bytes()).hexdigest() != wanted:
                raise AnsibleActionFail(f"{folder / name}: is not what {SUMS} says; export the bundle again")
    except OSError as error:
        raise AnsibleActionFail(
            f"{error.filename}: {error.strerror}; a bundle is what cfvgg-export writes"
        ) from error
    except ValueError as error:
        raise AnsibleActionFail(
            f"{folder / SUMS}: is no list of checksums; export the bundle again"
        ) from error
    return hashlib.sha256(sums).hexdigest()
