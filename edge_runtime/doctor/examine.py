"""All checks, in the order in which a person would ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge_runtime.doctor.board import board_checks
from edge_runtime.doctor.buffers import memory_checks
from edge_runtime.doctor.camera import camera_checks
from edge_runtime.doctor.checks import Check
from edge_runtime.doctor.machine import Machine
from edge_runtime.doctor.service import service_checks
from edge_runtime.doctor.software import model_checks, settings_check, software_checks


def examine(machine: Machine, config: Path | None, runtime: Path) -> Iterator[Check]:
    """Look at everything; raises nothing.

    Args:
        machine: what to look at. Python, its packages and the model are always this process's.
        config: settings; None for the service's, or the defaults if there are none.
        runtime: folder of the tracker's sockets.
    """
    settings, check = settings_check(machine, config)
    yield from software_checks(machine, settings)
    yield check
    yield from model_checks(settings)
    yield from camera_checks(machine, settings)
    yield from memory_checks(machine, settings)
    yield from board_checks(machine, settings)
    yield from service_checks(machine, settings, runtime)
