"""The fidelity loss: 1x1 convolutions map the student's channels to a teacher's (method, eq. 5).

The teacher's channels are standardised, so that levels and teachers count alike; the 1x1 heads are dropped
after training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Maps = Mapping[str, Tensor]  # level to (n, channels, rows, columns)
LOW_EVERY = 4  # of the low level's cells in each direction, one is compared: neighbours tell the same


def compared_cells(level: str, maps: Tensor) -> Tensor:
    """Those cells of a level's maps that the loss compares: all, but of the low level."""
    return maps[..., ::LOW_EVERY, ::LOW_EVERY] if level == "low" else maps


class FidelityLoss(nn.Module):
    """Mean squared difference of the heads' outputs to one teacher's standardised features.

    Args:
        student_channels: by level.
        teacher_channels: by level; the levels that are compared.
    """

    def __init__(self, student_channels: Mapping[str, int], teacher_channels: Mapping[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {level: nn.Conv2d(student_channels[level], c, 1) for level, c in teacher_channels.items()}
        )
        for level, channels in teacher_channels.items():
            self.register_buffer(f"{level}_mean", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"{level}_std", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def standardise(self, batches: Sequence[Maps]) -> None:
        """Set each teacher channel's mean and deviation from a few batches of its features."""
        for level in self.heads:
            x = torch.cat([batch[level] for batch in batches])
            std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
            # A channel that hardly ever fires must not count as much as the others.
            self.get_buffer(f"{level}_std").copy_(std.clamp_min(0.2 * float(std.mean())))
            self.get_buffer(f"{level}_mean").copy_(mean)

    def forward(self, student: Maps, teacher: Maps) -> dict[str, Tensor]:
        """Losses by level, scalars; 1.0 is what predicting the teacher's mean costs.

        Args:
            student: its maps.
            teacher: its maps at the student's cells, those of `compared_cells`.
        """
        losses = {}
        for level, head in self.heads.items():
            mine = compared_cells(level, student[level])
            target = (teacher[level] - self.get_buffer(f"{level}_mean")) / self.get_buffer(f"{level}_std")
            losses[level] = functional.mse_loss(head(mine), target)
        return losses
