"""Read nnU-Net's (version 2) description of its data sets, by which names and values of files are converted to ours.

    DatasetNNN_NAME/dataset.json              channels, labels and their values
                    imagesTr/NAME_0000.nii.gz the CT of a patient: _0000 is the number of its channel
                    labelsTr/NAME.nii.gz
                    imagesTs/, labelsTs/      the same of patients for the test, if there are any
                    splits_final.json         the patients of each fold

nnU-Net also copies ``dataset.json`` into the folders of its predictions, but for those of the patients of a fold
(``TRAINER__PLANS__CONFIGURATION/fold_0/validation``) two folders up.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.ownership import is_marked
from lits_seg.common.records import read_record
from lits_seg.common.untrusted import LARGEST_JSON

DESCRIPTION = "dataset.json"
SPLITS = "splits_final.json"
CHANNEL = "_0000"
LABELS = {"background": 0, "liver": 1, "lesion": 2}
OURS = tuple(LABELS.values())
_LESION = re.compile(r"((liver|hepatic)[ _-]?)?(lesion|tumou?r|cancer)s?", re.IGNORECASE)
_HIGHEST_VALUE = 255


@dataclass(frozen=True)
class Description:
    """The content of ``dataset.json``.

    Args:
        channel_names: names by the number of the channel.
        labels: value of each label, or the values of a region, by name.
        file_ending: ending of all file names.
    """

    channel_names: dict[str, str]
    labels: dict[str, int | list[int]]
    file_ending: str

    @classmethod
    def read(cls, path: Path) -> "Description":
        """Read a description; raise ``InputError`` if the file is damaged or describes other data than CT of livers."""
        found = read_record(cls, path, "nnU-Net's description of a data set")
        if len(found.channel_names) != 1:
            raise InputError(path, "one channel, the CT (channel_names)", ", ".join(found.channel_names.values()) or 0)
        if found.file_ending not in (".nii.gz", ".nii"):
            raise InputError(path, "file_ending .nii.gz or .nii", found.file_ending)
        unknown = [name for name in found.labels if _label(name) is None]
        if unknown:
            expected = f"labels {', '.join(LABELS)} (also tumor or cancer)"
            raise InputError(path, expected, ", ".join(unknown))
        values = found._values()
        in_order = sorted(values) == list(range(len(values))) and len(values) <= _HIGHEST_VALUE + 1
        if not in_order or values.get(0) != 0 or set(values.values()) != set(map(_label, found.labels)):
            expected = "labels with values 0 (background), 1, 2 …, and a value of its own for each label"
            raise InputError(path, expected, found.labels)
        return found

    def values(self) -> tuple[int, ...]:
        """Return our label (0 background, 1 liver, 2 lesion) of each stored value."""
        return tuple(label for _, label in sorted(self._values().items()))

    def _values(self) -> dict[int, int]:
        values: dict[int, int] = {}
        for name in sorted(self.labels, key=lambda name: _label(name) or 0):  # a region of the liver includes lesions
            stored = self.labels[name]
            values |= dict.fromkeys(stored if isinstance(stored, list) else [stored], _label(name) or 0)
        return values


def case_name(ct: Path, name: str) -> str:
    """Return the name of a CT's patient.

    Args:
        ct: the file.
        name: name of the file without extension; the number of the channel is removed if the file is nnU-Net's.

    Raises:
        InputError: if ``dataset.json`` is damaged, or describes several channels or other labels.
    """
    file = _description(ct)
    if file is None:
        return name
    Description.read(file)
    return name.removesuffix(CHANNEL)


def label_values(mask: Path) -> tuple[int, ...]:
    """Return our label of each value that a mask may have: (0, 1, 2), or what ``dataset.json`` says of nnU-Net's masks.

    Raises:
        InputError: if ``dataset.json`` is damaged, or describes several channels or other labels.
    """
    file = _description(mask)
    return OURS if file is None or is_marked(mask) else Description.read(file).values()


def require_description(root: Path, images: dict[str, Path], labels: dict[str, Path]) -> None:
    """Require ``dataset.json`` in a folder whose CTs have names of nnU-Net.

    Args:
        root: the folder.
        images: CTs by name.
        labels: masks by name.

    Raises:
        InputError: if there is none.
    """
    plain = {name for name in images.keys() - labels.keys() if name.removesuffix(CHANNEL) in labels}
    if plain:
        found = "a file without channel_names" if os.path.lexists(root / DESCRIPTION) else "no such file"
        expected = f"nnU-Net's description of a data set, since names in imagesTr have {CHANNEL}"
        raise InputError(root / DESCRIPTION, expected, found)


def _label(name: str) -> int | None:
    """Return our label of a label's name; None if the name is unknown."""
    return LABELS["lesion"] if _LESION.fullmatch(name) else LABELS.get(name.lower())


def _description(path: Path) -> Path | None:
    """Return the description that applies to a CT or mask, by its place; None if the file is not nnU-Net's."""
    folder = Path(os.path.abspath(path)).parent
    if folder.name in ("imagesTr", "imagesTs", "labelsTr", "labelsTs"):
        folder = folder.parent
    elif folder.name == "validation" and folder.parent.name.startswith("fold_"):
        folder = folder.parents[1]
    file = folder / DESCRIPTION
    if not os.path.isfile(file):
        return None
    with file.open("rb") as content:  # the Medical Segmentation Decathlon has a file of this name, too, with other keys
        return file if b'"channel_names"' in content.read(LARGEST_JSON) else None
