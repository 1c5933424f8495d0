"""Devices, and bundles for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from export.deploy.package import Package, read_package
from tests.deploy.bundles import hollow_bundle
from tests.deploy.fake_device import FakeDevice
from tests.deploy.loopback import Loopback

if TYPE_CHECKING:
    from tests.deploy.networks import Bundles


@pytest.fixture
def fake() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(hollow_bundle(tmp_path / "bundle", "new"))


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Made once: torch's ONNX exporter takes seconds."""
    from tests.deploy.networks import Bundles  # noqa: PLC0415 (not for tests without a network)

    return Bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A device with nothing on it."""
    with Loopback(tmp_path_factory.mktemp("d")) as device:
        yield device


@pytest.fixture
def device(empty: Loopback, bundles: Bundles) -> Loopback:
    """A device whose service runs the old bundle."""
    empty.deploy(bundles.old)
    assert empty.runs("old")
    return empty
