"""Student, teachers and losses in one module, so that one call turns a batch into losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.pairs.dataset import Pair
from export.student import LEVELS, CfVgg
from export.training.config import DistillConfig
from export.training.correlation import FilterTask, background_loss, tracking_loss
from export.training.fidelity import FidelityLoss, Maps
from export.training.location import located, location_loss
from export.training.start import normalise
from export.training.targets import Targets, Teachers

FIRST_LOGIT_SCALE = 3.0  # of responses whose peaks are about a half and whose sidelobes are a tenth of that


class Objective(nn.Module):
    """The student with what is dropped after training.

    Args:
        config: of the run.
        model: the student, acting on `normalise`d pictures.
        teachers: whose maps are compared; none unless the fidelity loss is on.
    """

    def __init__(self, config: DistillConfig, model: CfVgg, teachers: Teachers) -> None:
        super().__init__()
        self.config, self.model = config, model
        self.fidelity = nn.ModuleList(
            FidelityLoss(
                model.level_channels,
                {level: info.channels for level, info in teacher.levels.items() if level in teachers.levels},
            )
            for teacher in teachers.teachers
        )
        levels = config.loss.levels if "location" in config.loss.terms else ()
        self.logit_scale = nn.ParameterDict(
            {x: nn.Parameter(torch.tensor(FIRST_LOGIT_SCALE)) for x in levels}
        )

    def forward(self, batch: Pair, targets: Targets) -> dict[str, Tensor]:
        """Losses by term and level ("tracking high"), scalars, before weighting.

        Args:
            batch: n pairs.
            targets: what the teachers say about them.
        """
        return self.losses(batch, self.maps(batch), targets)

    def maps(self, batch: Pair) -> Maps:
        """The student's levels, (2 n, channels, rows, columns): n templates, then n search patches."""
        return student_maps(self.model, torch.cat([batch.template, batch.search]).float())

    def losses(self, batch: Pair, maps: Maps, targets: Targets) -> dict[str, Tensor]:
        """As `forward`, of `maps` that are there already."""
        terms, n = self.config.loss.terms, len(batch.template)
        losses = self.fidelity_losses(maps, targets) if "fidelity" in terms else {}
        task = FilterTask(batch.shift_px, batch.target_px)
        template = {level: x[:n] for level, x in maps.items()}
        if "tracking" in terms:
            losses |= {
                f"tracking {level}": tracking_loss(
                    level, template[level], maps[level][n:], task, self.config.filter
                )
                for level in self.config.loss.levels
            }
        if "location" in terms:
            losses |= {
                f"location {level}": location_loss(
                    level,
                    template[level],
                    maps[level][n:],
                    task,
                    self.config.filter,
                    logit_scale=self.logit_scale[level],
                )
                for level in self.config.loss.levels
            }
        if "background" in terms:
            negatives = student_maps(self.model, batch.negatives.flatten(0, 1).float())
            losses |= {
                f"background {level}": background_loss(
                    level, template[level], negatives[level], task, self.config.filter
                )
                for level in self.config.loss.levels
            }
        return losses

    def located(self, batch: Pair, maps: Maps) -> dict[str, Tensor]:
        """The share of targets that are found, by level ("located high"), scalars; see `location.located`."""
        n, task = len(batch.template), FilterTask(batch.shift_px, batch.target_px)
        levels = self.config.loss.levels
        found = {x: located(x, maps[x][:n], maps[x][n:], task, self.config.filter) for x in levels}
        return {f"located {level}": hits.float().mean() for level, hits in found.items()}

    def fidelity_losses(self, maps: Maps, targets: Targets) -> dict[str, Tensor]:
        """Losses by level, the mean over the teachers that have it."""
        found: dict[str, list[Tensor]] = {}
        for loss, target in zip(self.fidelity, targets, strict=True):
            for level, value in loss(maps, target).items():
                found.setdefault(f"fidelity {level}", []).append(value)
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def standardise(self, batches: Sequence[Targets]) -> None:
        """Measure the teachers' channels on a few batches."""
        for number, loss in enumerate(self.fidelity):
            assert isinstance(loss, FidelityLoss)  # ModuleList forgets it
            loss.standardise([targets[number] for targets in batches])

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum, a scalar."""
        loss = self.config.loss
        levels = dict(zip(LEVELS, loss.level_weights, strict=True))
        terms = {
            "fidelity": 1.0,
            "tracking": loss.tracking_weight,
            "location": loss.location_weight,
            "background": loss.background_weight,
        }
        weighted = []
        for name, value in losses.items():
            term, level = name.split()
            weighted.append(terms[term] * levels[level] * value)
        return torch.stack(weighted).sum()


def student_maps(model: CfVgg, rgb: Tensor) -> dict[str, Tensor]:
    """A student's maps, by level, of (n, 3, rows, columns) RGB 0..255, in training."""
    # Channels innermost: a third faster on the CPU.
    x = normalise(rgb).contiguous(memory_format=torch.channels_last)
    return model(x)._asdict()  # type: ignore[no-any-return]  # nn.Module's call returns Any
