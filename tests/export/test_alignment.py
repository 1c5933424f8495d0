"""A teacher's maps at the centres of the student's cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_runtime.errors import ConfigError
from export.student import CfVgg
from export.teachers.base import Teacher, TeacherLevel, aligned


class Ramp(Teacher):
    """Each cell's value is its centre's row plus 1000 times its centre's column."""

    def __init__(self, **levels: TeacherLevel) -> None:
        super().__init__("ramp", "ramp", levels)

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, level in self.levels.items():
            first, stride = level.first_centre_px, level.stride
            rows, columns = (torch.arange(first, size, stride) for size in rgb.shape[2:])
            found[name] = (rows[:, None] + 1000 * columns[None]).expand(len(rgb), level.channels, -1, -1)
        return found


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16, 3, 5])
@pytest.mark.parametrize("first_px", [0.0, 1.0, 0.5, 2.5])
def test_alignment_samples_at_the_students_centres(stride: int, first_px: float) -> None:
    """Bilinear interpolation of a ramp is exact."""
    level = TeacherLevel(2, stride, first_px)
    teacher = Ramp(low=level, middle=level, high=level)
    rgb = torch.zeros(3, 3, 200, 232)
    sizes = {name: tuple(m.shape[2:]) for name, m in CfVgg()(rgb).distilled.items()}
    found = aligned(teacher(rgb), teacher, sizes)
    for name, (first, step) in {"low": (3, 2), "middle": (9, 8), "high": (17, 16)}.items():
        rows, columns = (first + step * torch.arange(n) for n in sizes[name])
        expected = (rows[:, None] + 1000 * columns[None]).float().expand(3, 2, -1, -1)
        # A student's last cell may lie past the centre of a coarser teacher's last.
        last = [level.first_centre_px + level.stride * (n - 1) for n in teacher(rgb)[name].shape[2:]]
        inside = (rows[:, None] <= last[0]) & (columns[None] <= last[1])
        assert inside.float().mean() > 0.7
        torch.testing.assert_close(found[name][:, :, inside], expected[:, :, inside], rtol=1e-6, atol=1e-3)


def test_cells_on_the_students_pixels_are_taken_as_they_are() -> None:
    """Also where only every other one of the teacher's is."""
    teacher = Ramp(middle=TeacherLevel(1, 4, 1.0))
    maps = {"middle": torch.randn(1, 1, 30, 30)}
    found = aligned(maps, teacher, {"middle": (10, 14), "high": (5, 5)})
    assert torch.equal(found["middle"], maps["middle"][:, :, 2:22:2, 2:30:2])
    assert list(found) == ["middle"]


def test_places_up_to_a_cell_outside_take_the_edge_and_farther_ones_are_refused() -> None:
    teacher = Ramp(high=TeacherLevel(1, 16, 25.0))
    maps = {"high": torch.arange(4.0).reshape(1, 1, 4, 1).expand(-1, -1, -1, 4)}
    found = aligned(maps, teacher, {"high": (5, 4)})
    torch.testing.assert_close(found["high"][0, 0, :, 0], torch.tensor([0, 0.5, 1.5, 2.5, 3.0]))
    with pytest.raises(ConfigError, match=r"4 cells, centred on 25 to 73 px; the student's are on 17 to 97"):
        aligned(maps, teacher, {"high": (6, 4)})
    with pytest.raises(ConfigError, match="0 cells"):
        aligned({"high": torch.zeros(1, 1, 0, 0)}, teacher, {"high": (1, 1)})
    assert aligned(maps, teacher, {"high": (0, 4)})["high"].shape == (1, 1, 0, 4)
