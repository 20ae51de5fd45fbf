"""A raw data set of nnU-Net, as nnU-Net's own converters write it."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from helpers.volumes import AFFINES, anatomy

LABELS = {"background": 0, "liver": 1, "cancer": 2}


def describe(root: Path, **changes: Any) -> None:
    """Write ``dataset.json``; a changed key with None is left out."""
    description = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": 2,
        "file_ending": ".nii.gz",
        **changes,
    }
    root.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in description.items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(kept))


def write_nnunet(
    root: Path, names: tuple[str, ...] = ("a", "b"), values: tuple[int, ...] = (0, 1, 2), **changes: Any
) -> Path:
    """Write patients whose background, liver and lesion have the given values."""
    describe(root, **changes)
    for number, name in enumerate(names):
        hu, labels = anatomy(number)
        for folder, file, array in (
            ("imagesTr", f"{name}_0000", hu),
            ("labelsTr", name, np.array(values, np.uint8)[labels]),
        ):
            (root / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, AFFINES["RAS"]), root / folder / f"{file}.nii.gz")
    return root
