"""Every figure of the simulated faults beside its limit; `pytest -s` shows them as a table."""

from __future__ import annotations

from typing import NamedTuple

import pytest

_rows: list[Row] = []


class Row(NamedTuple):
    """One figure."""

    fault: str
    figure: str
    value: float
    limit: float


class Measured:
    """Takes figures down and holds them against their limits."""

    def __call__(self, fault: str, figure: str, value: float, limit: float) -> None:
        _rows.append(Row(fault, figure, value, limit))
        assert value <= limit, f"{fault}: {figure} is {value:g}, at most {limit:g} is allowed"


@pytest.fixture(scope="session")
def measured() -> Measured:
    return Measured()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _rows or config.getoption("capture") != "no":
        return
    terminalreporter.write_line("\n| fault | figure | measured | limit |\n|---|---|---:|---:|")
    for row in _rows:
        terminalreporter.write_line(f"| {row.fault} | {row.figure} | {row.value:.4g} | {row.limit:g} |")
