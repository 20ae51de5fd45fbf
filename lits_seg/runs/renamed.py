"""Translate names of classes that moved since version 0.1.0, as older checkpoints and run folders contain them."""

from typing import Any

# A name that ends with a dot is a module whose whole content moved. The first matching entry applies.
RENAMED = {
    "lits_seg.module.LesionSegmenter": "lits_seg.training.module.LesionModule",
    "lits_seg.training.module.LesionSegmenter": "lits_seg.training.module.LesionModule",
    "lits_seg.losses.": "lits_seg.training.losses.",
    "lits_seg.callbacks.": "lits_seg.training.callbacks.",
    "lits_seg.patients.": "lits_seg.training.patient_scores.",
    "lits_seg.sweep.": "lits_seg.sweeps.jobs.",
    "lits_seg.postprocess.Rules": "lits_seg.postprocess.rules.Rules",
    "lits_seg.data.phantom.": "lits_seg.phantom.write.",
    "lits_seg.data.augment.rotate_zoom_bend": "lits_seg.data.augment_monai.rotate_zoom_bend",
    "lits_seg.data.augment.scanner_variety": "lits_seg.data.augment_monai.scanner_variety",
    "lits_seg.data.augment_batch.": "lits_seg.data.augment.",
}


def with_new_names(settings: Any) -> Any:
    """Return a copy of plain containers in which every ``_target_`` has its current name."""
    if isinstance(settings, dict):
        return {
            key: _new_name(value) if key == "_target_" and isinstance(value, str) else with_new_names(value)
            for key, value in settings.items()
        }
    if isinstance(settings, list):
        return [with_new_names(value) for value in settings]
    return settings


def _new_name(name: str) -> str:
    for old, new in RENAMED.items():
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name.removeprefix(old)
    return name
