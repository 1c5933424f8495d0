"""What a response's peak-to-sidelobe ratio says about the target's presence, per tracker and feature.

Fitted by `benchmarks/fit_confidence.py` on the development sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.confidence import ConfidenceModel

if TYPE_CHECKING:
    from edge_runtime.config import TrackerConfig

KCF_MODELS = {
    "cnn:low": ConfidenceModel(psr_half=6.2, slope=3.6, drop_slope=3.0),
    "cnn:middle": ConfidenceModel(psr_half=5.9, slope=3.1, drop_slope=3.0),
    "cnn:conv3": ConfidenceModel(psr_half=8.0, slope=3.8, drop_slope=2.6),
    "cnn:high": ConfidenceModel(psr_half=10.7, slope=3.1, drop_slope=2.0),
    "hog": ConfidenceModel(psr_half=6.6, slope=4.0, drop_slope=2.3),
    "gray": ConfidenceModel(psr_half=6.6, slope=4.0, drop_slope=2.3),
}
PRESET_MODELS = {
    "feco": ConfidenceModel(psr_half=7.8, slope=3.5, drop_slope=3.4),
    "eco-hc": ConfidenceModel(psr_half=6.9, slope=3.8, drop_slope=3.4),
    "fdeepstrcf": ConfidenceModel(psr_half=6.4, slope=4.4, drop_slope=3.8),
    "strcf": ConfidenceModel(psr_half=7.9, slope=3.9, drop_slope=2.9),
}


def confidence_model(settings: TrackerConfig) -> ConfidenceModel:
    """The model of a preset; of KCF's feature where the preset is one of its."""
    if settings.preset in PRESET_MODELS:
        return PRESET_MODELS[settings.preset]
    return KCF_MODELS.get(settings.kcf.feature, KCF_MODELS["cnn:middle"])
