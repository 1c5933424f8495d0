"""Equation 12 against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from export.flops import cost, flops_table
from export.student import COMPRESSION_RATIOS, TEACHER_CHANNELS, CfVgg, channels_for_ratio, map_sizes
from tests.export.test_cli import run


@pytest.mark.parametrize("size_px", [33, 64, 65, 129, 160, 200, 207, 208, 223, 224, 240])
def test_map_sizes_are_the_networks(size_px: int) -> None:
    with torch.no_grad():
        levels = CfVgg((2, 2, 2, 2, 2))(torch.zeros(1, 3, size_px, size_px))
    conv1, conv2, conv3, conv4, conv5 = map_sizes(size_px)
    assert [level.shape[2] for level in levels] == [conv1, conv2, conv3, conv5]
    assert conv4 == conv5


def test_the_student_at_224_by_hand() -> None:
    """Maps of 109, 26 and 13 cells a side: 2 * cells * (inputs * kernel^2 + 1) * outputs per layer."""
    by_layer = (
        2 * 11881 * 148 * 12,  # conv1: 42,201,312
        2 * 676 * 301 * 32,  # conv2: 13,022,464
        2 * 169 * 289 * 64,  # conv3: 6,251,648
        2 * 169 * 577 * 64,  # conv4: 12,481,664
        2 * 169 * 577 * 64,  # conv5: 12,481,664
    )
    assert by_layer == (42_201_312, 13_022_464, 6_251_648, 12_481_664, 12_481_664)
    student = cost((12, 32, 64, 64, 64), 224)
    assert student.flops == 86_438_752
    # Twice the multiplications, and twice a bias for every value of every map.
    values = 11881 * 12 + 676 * 32 + 3 * 169 * 64
    assert student.macs == 20_958_084 + 6_489_600 + 3_115_008 + 2 * 6_230_016
    assert student.flops == 2 * student.macs + 2 * values
    assert student.parameters == 103_760


def test_the_teacher_by_hand() -> None:
    teacher = cost(TEACHER_CHANNELS, 224)
    assert teacher.parameters == 14_208 + 614_656 + 1_180_160 + 2 * 2_359_808
    conv1, conv2 = 2 * 11881 * 148 * 96, 2 * 676 * 2401 * 256
    conv3, conv4 = 2 * 169 * 2305 * 512, 2 * 169 * 4609 * 512
    assert teacher.flops == conv1 + conv2 + conv3 + 2 * conv4 == 3_162_749_696


@pytest.mark.parametrize("ratio", COMPRESSION_RATIOS)
def test_parameters_are_the_networks(ratio: int) -> None:
    channels = channels_for_ratio(ratio)
    assert cost(channels, 224).parameters == sum(p.numel() for p in CfVgg(channels).parameters())


def test_the_command_prints_every_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "flops") == 0
    printed = capsys.readouterr().out
    assert printed == flops_table(224) + "\n"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()[4:]]
    assert [row[0] for row in rows] == ["1 (teacher)", "16", "32", "64", "96"]
    assert rows[0] == ["1 (teacher)", "96-256-512-512-512", "6,528,640", "3.1627", "1579.8", "100.00%"]
    assert rows[3] == ["64", "12-32-64-64-64", "103,760", "0.0864", "43.0", "2.73%"]
    assert run(monkeypatch, "flops", "--size", "160") == 0
    assert "| 64          | 12-32-64-64-64      |    103,760 |" in capsys.readouterr().out
    assert run(monkeypatch, "flops", "--size", "5") == 2
