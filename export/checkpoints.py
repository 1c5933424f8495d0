"""Student checkpoints: safetensors weights with the architecture and the preprocessing beside them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from edge_runtime.errors import WeightsError
from edge_runtime.files import write_atomic
from export.student import IMAGENET_MEAN_RGB, CfVgg, LrnParams

FORMAT = "cfvgg-student/1"


@dataclass(frozen=True)
class Student:
    """A network with what must be subtracted from its input.

    Attributes:
        mean: float32 of shape (3,), RGB channel mean, or (rows, columns, 3), a mean image.
        source: where the weights come from, for manifests and model cards.
        licence: licence of the weights.
        provenance: free-form facts (teacher, data, steps, seed, figures).
    """

    model: CfVgg
    mean: NDArray[np.float32]
    source: str
    licence: str
    provenance: dict[str, Any] = field(default_factory=dict)


def save_student(student: Student, path: Path) -> None:
    """Write `student` as safetensors, atomically.

    Raises:
        StorageError: the file could not be written.
        ValueError: the student has a mean image (such networks are imported, not saved).
    """
    if student.mean.shape != (3,):
        raise ValueError("only students with a channel mean are saved")
    model = student.model
    metadata = {
        "format": FORMAT,
        "channels": json.dumps(model.channels),
        "lrn": json.dumps(asdict(model.lrn) if model.lrn else None),
        "mean_rgb": json.dumps([float(v) for v in student.mean]),
        "source": student.source,
        "licence": student.licence,
        "provenance": json.dumps(student.provenance, sort_keys=True),
    }
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(path, safetensors.torch.save(tensors, metadata))


def load_student(path: Path) -> Student:
    """Read a checkpoint that `save_student` wrote.

    Raises:
        WeightsError: the file is missing, not such a checkpoint, or its tensors have other shapes.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot be read as safetensors ({error})", where=path) from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"is not a student checkpoint (format {metadata.get('format')!r})",
            where=path,
            fix=f"give a file that cfvgg-export distill wrote ({FORMAT})",
        )
    lrn = json.loads(metadata["lrn"])
    model = CfVgg(tuple(json.loads(metadata["channels"])), LrnParams(**lrn) if lrn else None)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise WeightsError(f"wrong layer shapes ({error})", where=path) from error
    return Student(
        model.eval(),
        np.asarray(json.loads(metadata["mean_rgb"]), np.float32),
        metadata["source"],
        metadata["licence"],
        json.loads(metadata["provenance"]),
    )


def random_student(ratio_channels: tuple[int, ...] | None = None, seed: int = 0) -> Student:
    """An untrained student (He initialisation): the baseline that a distilled one must beat."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CfVgg(ratio_channels).eval()
        # Weights act on 0..255 pixels; bring activations to order one, as training does.
        model.conv1.weight.data /= 58.0
    mean = np.asarray(IMAGENET_MEAN_RGB, np.float32)
    return Student(model, mean, f"random initialisation, seed {seed}", "Apache-2.0")
