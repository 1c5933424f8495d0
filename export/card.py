"""The model card of a bundle, and the accuracy table that the command line prints."""

from __future__ import annotations

import json

from calibration.report import Limits
from edge_runtime.manifest import MEAN_FILE, MIN_INPUT_PX, Manifest


def accuracy_table(manifest: Manifest) -> str:
    """Accuracy per model and level as a Markdown table that also reads well in a terminal."""
    lines = [
        "| model   | level  | SQNR dB | cosine   | max relative error |",
        "|---------|--------|--------:|---------:|-------------------:|",
    ]
    lines += [
        f"| {model:7} | {a.level:6} | {a.sqnr_db:7.1f} | {a.cosine:.6f} | {a.max_relative_error:18.2g} |"
        for model, levels in manifest.accuracy.items()
        for a in levels
    ]
    return "\n".join(lines)


def model_card(manifest: Manifest, limits: Limits) -> str:
    """`MODEL_CARD.md`: what the network is, where it comes from, what it takes and how exact it is."""
    m = manifest
    mean = ", ".join(f"{value:.1f}" for value in m.preprocessing.mean_rgb)
    preparation = {
        "folded": f"RGB 0..255 as it is; the channel mean ({mean}) is folded into conv1",
        "image": f"RGB 0..255 minus `{MEAN_FILE}` resized to the input by MATLAB's bicubic `imresize`",
    }[m.preprocessing.mean]
    levels = "\n".join(
        f"| {level.name} | {level.stride} | {level.channels} | {level.first_centre_px:g} |"
        for level in m.levels
    )
    models = "\n".join(f"| {i.file} | {i.bytes} | {i.sha256} |" for i in m.models.values())
    calibration = "Not calibrated: there is no int8 model."
    if m.calibration is not None:
        c = m.calibration
        calibration = f"{c.count} crops, {c.source}; sha256 of the crops {c.sha256}."
    return f"""# {m.name}

CF-VGG feature extractor for correlation-filter tracking: convolutions with {m.network_channels} filters,
{m.parameters:,} parameters, {"with" if m.lrn else "without"} cross-channel normalisation.

- Weights: {m.source}
- Licence of the weights: {m.licence}
- Made {m.created_utc} from revision {m.git_revision}

## Input and output

Square or other patches of any size from {MIN_INPUT_PX} px, {preparation}.

| level | stride px | channels | centre of the first cell px |
|---|---|---|---|
{levels}

| file | bytes | sha256 |
|---|---|---|
{models}

## Accuracy against torch float32

The worst over input sizes {", ".join(str(s) for s in m.checked_sizes_px)} px, on crops of pictures that the
calibration did not see. Limits: int8 SQNR {"/".join(f"{v:g}" for v in limits.min_sqnr_db)} dB, cosine
{limits.min_cosine:g}, float32 relative error {limits.max_relative_error:g}. Details are in `report/`.

{accuracy_table(m)}

## Calibration

{calibration}

## Provenance

```json
{json.dumps(m.provenance, indent=1, sort_keys=True)}
```

## Limits

The features serve tracking by correlation filters. They were not made for, nor measured at, recognising
what an object is or who a person is.
"""
