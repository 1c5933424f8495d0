"""Devices, and bundles for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from export.deploy.package import Package, read_package
from tests.deploy.bundles import Bundles
from tests.deploy.fake_device import FakeDevice
from tests.deploy.loopback import Loopback
from tests.edge.bundles import made_up
from tests.tracker.conftest import bundle_path

__all__ = ["bundle_path"]


@pytest.fixture
def fake() -> FakeDevice:
    return FakeDevice()


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(made_up(tmp_path / "bundle", "new"))


@pytest.fixture(scope="session")
def bundles(bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    return Bundles(bundle_path, tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """A device with nothing on it."""
    with Loopback(tmp_path_factory.mktemp("d")) as device:
        yield device


@pytest.fixture
def device(empty: Loopback, bundles: Bundles) -> Loopback:
    """A device whose service runs the old bundle."""
    empty.begin_with(bundles.old)
    assert empty.runs("old")
    return empty
