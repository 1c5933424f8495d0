"""A training run in one folder: trains, validates, checkpoints, resumes."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from edge_runtime.files import write_atomic
from edge_runtime.settings_file import to_toml
from export.checkpoints import Student, save_student
from export.pairs.dataset import Pair
from export.student import IMAGENET_MEAN_RGB, CfVgg
from export.teachers import load_teacher
from export.training.checkpoint import CONFIG, STUDENT, Row, read_checkpoint, write_checkpoint, write_log
from export.training.config import DistillConfig
from export.training.curves import CURVES, SHEET, sheet_of, to_png
from export.training.data import TrainingData, open_data
from export.training.feed import Feed
from export.training.objective import Objective
from export.training.processes import Processes
from export.training.start import channels_last, make_student, unscaled
from export.training.targets import Targets, Teachers
from export.training.validation import validation_auc

STANDARDISED_PAIRS = 96
SMOOTHING = 0.98  # of the losses that the progress line shows
LAST_RATE = 1e-3  # share of the learning rate that is left at the end


class Distillation:
    """One run.

    Args:
        config: its settings.
        folder: where it keeps everything; a run that was interrupted goes on from there.
        processes: this process's place among those that train together.

    Raises:
        ConfigError: the folder holds a checkpoint made with other settings.
        WeightsError: a teacher, the student's start or the checkpoint cannot be read.
        CalibrationError: there is nothing to train on.
    """

    def __init__(self, config: DistillConfig, folder: Path, processes: Processes) -> None:
        self.config, self.folder, self.processes = config, folder, processes
        self.device = processes.device
        torch.manual_seed(config.run.seed)
        state = read_checkpoint(folder, asdict(config), self.device)
        networks = [load_teacher(spec, config.teacher.levels or None) for spec in config.teacher.networks]
        model = make_student(config.student, networks, config.run.seed)
        self.data: TrainingData = open_data(config, progress=processes.first)
        compared = networks if "fidelity" in config.loss.terms else []
        teachers = Teachers([t.to(self.device) for t in compared], config.loss.fidelity_levels)
        self.objective = channels_last(Objective(config, model, teachers).to(self.device))
        self.teachers = [teacher.name for teacher in teachers.teachers]
        self.feed = Feed(config, self.data, teachers, processes)
        decay = get_ema_multi_avg_fn(config.optimiser.average)  # type: ignore[no-untyped-call]  # torch's
        self.average = AveragedModel(model, multi_avg_fn=decay)
        self.optimiser = make_optimiser(config, self.objective)
        self.step, self.rows, self.seconds = 0, list[Row](), 0.0
        self.means: Row = {}
        if state is not None:
            self._restore(state)
        elif compared:
            self.objective.standardise(self.feed.first(STANDARDISED_PAIRS))
        if processes.first:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / CONFIG, to_toml(config).encode())
            write_atomic(folder / SHEET, sheet_of(self.data.trained))

    def run(self) -> Student:
        """Train to the last step; the checkpoint, the log and the student are kept up on the way."""
        run = self.config.run
        wrapped = self.processes.wrap(self.objective)
        since = time.monotonic()
        total = {"total": run.steps, "initial": self.step, "unit": "step", "desc": "distill"}
        with tqdm(**total, disable=not self.processes.first) as progress:
            for pairs, targets in self.feed.training(self.step):
                losses = self._update(wrapped, pairs, targets)
                for name, value in losses.items():
                    self.means[name] = SMOOTHING * self.means.get(name, value) + (1 - SMOOTHING) * value
                progress.update()
                if self.step % 20 == 0:
                    rate = progress.format_dict["rate"] or 0.0
                    progress.set_postfix_str(f"{2 * run.batch * rate:.0f} images/s, {_summary(self.means)}")
                if self.step % run.checkpoint_every == 0 or self.step == run.steps:
                    self.seconds += time.monotonic() - since
                    self._checkpoint()
                    self.processes.wait()
                    since = time.monotonic()
        return self.student()

    def student(self) -> Student:
        """The current student (its running average), acting on 0..255 RGB minus the channel mean."""
        model = unscaled(self._kept())
        provenance: dict[str, Any] = {
            "teachers": self.teachers,
            "data": self.data.counts,
            "config": asdict(self.config),
            "step": self.step,
            "log": self.rows[-1] if self.rows else {},
        }
        mean = np.asarray(IMAGENET_MEAN_RGB, np.float32)
        return Student(model, mean, "distilled by cfvgg-export distill", "Apache-2.0", provenance)

    def _update(self, objective: nn.Module, pairs: Pair, targets: Targets) -> dict[str, float]:
        """One step; the losses before it."""
        rate = self.config.optimiser.learning_rate * rate_share(self.config, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        mixed = self.config.run.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            losses: dict[str, Tensor] = objective(pairs, targets)
            total = self.objective.total(losses)
        self.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch's
        nn.utils.clip_grad_norm_(self.objective.model.parameters(), self.config.optimiser.clip)
        self.optimiser.step()
        self.average.update_parameters(self.objective.model)
        self.step += 1
        values = self.processes.mean(torch.stack([value.detach() for value in losses.values()]))
        return dict(zip(losses, values.tolist(), strict=True))

    @torch.no_grad()
    def validation_losses(self) -> Row:
        """The current student on pairs that are never trained on: losses, and how many targets it finds."""
        current, sums, count = self.objective.model, dict[str, float](), 0
        self.objective.model = self._kept()
        try:
            for pairs, targets in self.feed.validation():
                maps = self.objective.maps(pairs)
                found = self.objective.losses(pairs, maps, targets) | self.objective.located(pairs, maps)
                for name, value in found.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(pairs.template)
                count += len(pairs.template)
        finally:
            self.objective.model = current
        return {f"validation {name}": round(value / count, 5) for name, value in sums.items()}

    def _kept(self) -> CfVgg:
        """The network that is validated and kept."""
        if not self.config.optimiser.average:
            return self.objective.model
        average = self.average.module
        assert isinstance(average, CfVgg)  # a copy of the model
        return average

    def _checkpoint(self) -> None:
        if not self.processes.first:
            return
        run = self.config.run
        row: Row = {"step": self.step, "seconds": round(self.seconds, 1)}
        row["images_a_second"] = round(2 * run.batch * self.step / max(self.seconds, 1e-9), 1)
        row |= {name: round(value, 5) for name, value in self.means.items()} | self.validation_losses()
        due = self.step == run.steps or (run.validate_every and self.step % run.validate_every == 0)
        if due and self.data.held_out and run.validation_presets:
            scores = validation_auc(self.student(), self.data.held_out, run.validation_presets)
            row |= {f"AUC {preset}": round(value, 4) for preset, value in scores.items()}
            tqdm.write(f"step {self.step}: {_summary(scores)} on held-out videos")
        self.rows.append(row)
        write_log(self.folder, self.rows)
        write_atomic(self.folder / CURVES, to_png(self.rows))
        save_student(self.student(), self.folder / STUDENT)
        write_checkpoint(self.folder, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "rows": self.rows,
            "means": self.means,
            "objective": self.objective.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.rows = int(state["step"]), list(state["rows"])
        self.seconds, self.means = float(state["seconds"]), dict(state["means"])


def make_optimiser(config: DistillConfig, objective: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD over the student and the heads."""
    o = config.optimiser
    parameters = list(objective.parameters())
    if o.kind == "sgd":
        return torch.optim.SGD(parameters, o.learning_rate, o.momentum, weight_decay=o.weight_decay)
    return torch.optim.AdamW(parameters, o.learning_rate, weight_decay=o.weight_decay)


def rate_share(config: DistillConfig, step: int) -> float:
    """The learning rate of a step as a share of the largest."""
    done = step / config.run.steps
    if config.optimiser.schedule == "exponential":
        decay: float = LAST_RATE**done
    else:
        decay = max(0.5 * (1 + math.cos(math.pi * done)), LAST_RATE)
    return min(1.0, (step + 1) / config.optimiser.warmup_steps) * decay


def _summary(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
