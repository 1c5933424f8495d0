"""Distillation of a CF-VGG student from a frozen teacher by the fidelity loss (method, eq. 5).

Per level, a trainable 1x1 convolution maps the student's channels to the teacher's standardised
ones; the loss is the mean squared difference. The 1x1 heads are dropped after training.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from calibration.pictures import find_pictures
from edge_runtime.errors import ConfigError, WeightsError
from edge_runtime.files import write_atomic
from export.checkpoints import Student, save_student
from export.photos import PhotoCrops
from export.student import IMAGENET_MEAN_RGB, TEACHER_LEVELS, CfVgg, TeacherLevels, channels_for_ratio
from export.teachers.squeezenet import SqueezeNet, load_squeezenet

INPUT_STD = 58.0  # the optimiser sees inputs of order one; folded into conv1 when saving
VALIDATION_CROPS = 256
CHECKPOINT, STUDENT, LOG = "checkpoint.pt", "student.safetensors", "log.csv"


@dataclass(frozen=True)
class DistillConfig:
    """Settings of one run; written into the checkpoint and the model card.

    Attributes:
        level_weights: weight of the low, middle and high level's loss.
        validation_share: share of the photos that is never trained on.
    """

    ratio: int = 64
    steps: int = 6000
    batch: int = 16
    crop_px: int = 176
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    level_weights: tuple[float, float, float] = (1.0, 1.0, 1.0)
    seed: int = 0
    validation_share: float = 0.05
    checkpoint_every: int = 200
    workers: int = 1


class FidelityLoss(nn.Module):
    """Mean squared difference of the heads' outputs to the teacher's standardised features."""

    def __init__(self, student_channels: tuple[int, ...], teacher_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Conv2d(s, t, 1) for s, t in zip(student_channels, teacher_channels, strict=True)
        )
        for i, channels in enumerate(teacher_channels):
            self.register_buffer(f"mean{i}", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"std{i}", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def standardise(self, batches: list[TeacherLevels]) -> None:
        """Set each teacher channel's mean and deviation from a few batches of its features."""
        for i in range(len(self.heads)):
            x = torch.cat([b[i] for b in batches])
            std, mean = torch.std_mean(x, dim=(0, 2, 3), keepdim=True)
            # A channel that hardly ever fires must not count as much as the others.
            self.get_buffer(f"std{i}").copy_(std.clamp_min(0.2 * float(std.mean())))
            self.get_buffer(f"mean{i}").copy_(mean)

    def forward(self, student: TeacherLevels, teacher: TeacherLevels) -> Tensor:
        """Losses per level, shape (3,); 1.0 is what predicting the teacher's mean costs."""
        losses = []
        for i, head in enumerate(self.heads):
            rows, columns = student[i].shape[2:]
            target = teacher[i][:, :, :rows, :columns]
            target = (target - self.get_buffer(f"mean{i}")) / self.get_buffer(f"std{i}")
            losses.append(functional.mse_loss(head(student[i]), target))
        return torch.stack(losses)


class Distillation:
    """One run in one folder: trains, validates, checkpoints, resumes.

    Raises:
        ConfigError: the folder holds a checkpoint made with other settings.
        WeightsError: the teacher or the checkpoint cannot be read.
        CalibrationError: there are no photos.
    """

    def __init__(self, config: DistillConfig, teacher: Path, photos: Path, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.teacher: SqueezeNet = load_squeezenet(teacher).to(self.device)
        self.teacher_name, self.photos_name = teacher.name, photos.name
        pictures = find_pictures(photos)
        order = np.random.default_rng(config.seed).permutation(len(pictures))
        held_out = max(1, round(len(pictures) * config.validation_share))
        self.train_pictures = [pictures[i] for i in order[held_out:]]
        self.validation_pictures = [pictures[i] for i in order[:held_out]]
        self.model = CfVgg(channels_for_ratio(config.ratio)).to(self.device)
        c = self.model.channels
        teacher_channels = tuple(level.channels for level in self.teacher.levels.values())
        self.loss = FidelityLoss((c[0], c[1], c[4]), teacher_channels).to(self.device)
        parameters = [*self.model.parameters(), *self.loss.parameters()]
        self.optimiser = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        self.step, self.rows = 0, list[dict[str, float]]()
        if not self._resume():
            self.loss.standardise([self._target(x) for x in self._batches(0, 12)])

    def run(self) -> Student:
        """Train to the last step and write the student.

        Writes `student.safetensors` and `log.csv` into the folder at every checkpoint.
        """
        config = self.config
        weights = torch.tensor(config.level_weights, device=self.device)
        mean_losses = torch.zeros(3, device=self.device)
        progress = tqdm(total=config.steps, initial=self.step, unit="step", desc="distill")
        for x in self._batches(self.step, config.steps):
            self._set_learning_rate()
            with torch.no_grad():
                target = self._target(x)
            losses = self.loss(self.model(normalise(x)).distilled, target)
            self.optimiser.zero_grad()
            (losses * weights).sum().backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.step += 1
            mean_losses = 0.98 * mean_losses + 0.02 * losses.detach()
            progress.update()
            if self.step % 20 == 0:
                corrected = mean_losses / (1 - 0.98 ** min(self.step, 1000))
                progress.set_postfix_str(" ".join(f"{v:.3f}" for v in corrected.tolist()))
            if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                self._checkpoint()
        progress.close()
        return self.student()

    @torch.no_grad()
    def validate(self) -> list[float]:
        """Loss per level on crops of photos that are never trained on."""
        data = PhotoCrops(
            self.validation_pictures, self.config.crop_px, VALIDATION_CROPS, seed=1, augment=False
        )
        total = torch.zeros(3, device=self.device)
        for batch in DataLoader(data, 32):
            x = batch.to(self.device).float()
            total += self.loss(self.model(normalise(x)).distilled, self._target(x)) * len(x)
        return [float(v) for v in total / VALIDATION_CROPS]

    def student(self) -> Student:
        """The current student, acting on 0..255 RGB minus the channel mean."""
        model = CfVgg(self.model.channels)
        model.load_state_dict({k: v.cpu() for k, v in self.model.state_dict().items()})
        model.conv1.weight.data /= INPUT_STD
        provenance: dict[str, Any] = {
            "teacher": self.teacher_name,
            "photos": self.photos_name,
            "photos_trained_on": len(self.train_pictures),
            "loss": "fidelity",
            "config": asdict(self.config),
            "step": self.step,
            "validation_loss": self.rows[-1] if self.rows else {},
        }
        mean = np.asarray(IMAGENET_MEAN_RGB, np.float32)
        return Student(model.eval(), mean, "distilled by cfvgg-export distill", "Apache-2.0", provenance)

    def _target(self, x: Tensor) -> TeacherLevels:
        return TeacherLevels(**self.teacher(x))

    def _batches(self, start: int, stop: int) -> Iterator[Tensor]:
        config = self.config
        data = PhotoCrops(self.train_pictures, config.crop_px, config.steps * config.batch, config.seed)
        indices = range(start * config.batch, stop * config.batch)
        loader = DataLoader(data, config.batch, sampler=indices, num_workers=config.workers)
        for batch in loader:
            yield batch.to(self.device).float()

    def _set_learning_rate(self) -> None:
        warm = min(1.0, (self.step + 1) / self.config.warmup_steps)
        decay = 0.5 * (1 + math.cos(math.pi * self.step / self.config.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * warm * max(decay, 1e-3)

    def _checkpoint(self) -> None:
        row = {"step": float(self.step)}
        row |= {level: round(v, 5) for level, v in zip(TEACHER_LEVELS, self.validate(), strict=True)}
        self.rows.append(row)
        buffer = io.BytesIO()
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "rows": self.rows,
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        torch.save(state, buffer)
        write_atomic(self.folder / CHECKPOINT, buffer.getvalue())
        save_student(self.student(), self.folder / STUDENT)
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, row.keys(), lineterminator=os.linesep)
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.folder / LOG, table.getvalue().encode())

    def _resume(self) -> bool:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises several types for a damaged file
            raise WeightsError(f"cannot be read ({error})", where=path, fix="remove it") from error
        if state["config"] != asdict(self.config):
            changed = [k for k, v in asdict(self.config).items() if state["config"].get(k) != v]
            raise ConfigError(
                f"was made with another {', '.join(changed)}", where=path, fix="choose another --out"
            )
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.rows = int(state["step"]), list(state["rows"])
        return True


def normalise(x: Tensor) -> Tensor:
    """What the network sees in training: (x - mean) / `INPUT_STD`."""
    mean = torch.tensor(IMAGENET_MEAN_RGB, device=x.device)[None, :, None, None]
    return (x - mean) / INPUT_STD
