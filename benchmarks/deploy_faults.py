"""What becomes of a device when a deployment goes wrong? The fault table, measured.

    python -m benchmarks.deploy_faults --bundle demo/bundle --out runs/deploy_faults.json
    python -m benchmarks.deploy_faults --bundle demo/bundle --only power_cut_in_the_trial

A real sshd on the loopback address, the real `cfvgg-edge bundle` and a real service with the virtual camera;
only systemd is a stand-in, which starts a service that failed after 0.2 s (the unit waits longer). Each fault
is that of a test (tests/deploy/faults.py) on a device of its own. Prints one JSON object; its seconds are a
PC's, not a Pi's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.files import write_atomic
from tests.deploy.bundles import Bundles
from tests.deploy.faults import EXPECTED, Fault, Row, tried
from tests.deploy.loopback import Loopback


def measure(faults: Sequence[Fault], bundle: Path, folder: Path) -> list[Row]:
    """Let each fault happen to a device that runs a bundle."""
    bundles = Bundles(bundle.resolve(), folder)
    rows = []
    for number, fault in enumerate(faults):
        place = folder / str(number)
        place.mkdir()
        with Loopback(place) as device:
            device.begin_with(bundles.old)
            rows.append(tried(fault, device, bundles))
        logging.info("%s: runs %s, after %.1f s", rows[-1].fault, rows[-1].runs, rows[-1].again_s)
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = {fault.__name__: fault for fault in EXPECTED}
    parser.add_argument("--bundle", type=Path, required=True, help="Folder that cfvgg-export made.")
    parser.add_argument("--only", nargs="+", choices=names, metavar="FAULT", default=list(names))
    parser.add_argument("--out", type=Path, help="JSON file.")
    given = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("export").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="cfvgg-") as folder:
        rows = measure([names[name] for name in given.only], given.bundle, Path(folder))
    text = json.dumps({"faults": [dataclasses.asdict(row) for row in rows]}, indent=1) + "\n"
    print(text, end="")
    if given.out is not None:
        write_atomic(given.out, text.encode())


if __name__ == "__main__":
    main()
