"""Find and verify the files of the packaged network. ``packaged`` is their name in every setting for a network.

``python -m experiments.packaged`` writes the files. ``./packaged`` is a file of the user with this name.
"""

from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.files import sha256
from lits_seg.common.records import read_record
from lits_seg.common.untrusted import require_file
from lits_seg.metrics.statistics import Estimate

NAME = "packaged"
FOLDER = Path(__file__).parent
CARD, CHECKPOINT, ONNX, SPLIT = "card.json", "network.ckpt", "network.onnx", "split.json"
BROKEN = "(install lits_seg again)"


@dataclass(frozen=True)
class Card:
    """The card of the packaged network.

    Args:
        research_use_only: statement of the permitted use.
        name: name of the network, a choice in ``conf/model``.
        version: version of the weights.
        summary: what the network does, in one line.
        licence: licence of the weights.
        trained_on: the training data.
        measured_on: the patients of the figures, without their number, and the networks that predicted them.
        patients: number of patients of the figures.
        figures: scores by name, see ``metrics.statistics.summarise_cases``.
        not_for: uses that are excluded.
        sha256: SHA-256 of each file, by name.
    """

    research_use_only: str
    name: str
    version: str
    summary: str
    licence: str
    trained_on: str
    measured_on: str
    patients: int
    figures: dict[str, Estimate]
    not_for: str
    sha256: dict[str, str]

    def facts(self) -> dict[str, str]:
        """Return what a user must know about a mask of this network, as texts by title."""
        return {
            "network": f"{self.name} {self.version}, packaged with lits_seg ({self.licence}): {self.summary}",
            "trained on": self.trained_on,
            "measured on": f"{self.patients} {self.measured_on}: {', '.join(self._scores())}",
            "use": f"research only, not for {self.not_for}",
        }

    def _scores(self) -> list[str]:
        shown = {
            "lesion/dice_per_case": "lesion Dice per case",
            "detection/iou>0/recall": "lesions found",
            "detection/iou>0/false_per_patient": "false lesions a patient",
            "liver/dice_per_case": "liver Dice per case",
        }
        return [f"{title} {_rounded(self.figures[name])}" for name, title in shown.items() if name in self.figures]


def packaged_file(setting: str, file: str) -> str:
    """Return the value of a setting that names a network; ``packaged`` becomes the path of the packaged file.

    Args:
        setting: value of the setting.
        file: ``CHECKPOINT`` or ``ONNX``.

    Raises:
        InputError: if ``setting`` is ``packaged``, and the file or its card is missing or damaged.
    """
    if setting != NAME:
        return setting
    read_card(file)
    return str(FOLDER / file)


def read_card(*files: str) -> Card:
    """Return the card of the packaged network.

    Args:
        files: names of the files that must have the SHA-256 in the card.

    Raises:
        InputError: if the card or a file is missing or damaged.
    """
    card = read_record(Card, FOLDER / CARD, f"the card of the packaged network {BROKEN}")
    for name in files:
        path, expected = FOLDER / name, card.sha256.get(name)
        require_file(path, f"a file of the packaged network {BROKEN}")
        if (found := sha256(path)) != expected:
            raise InputError(path, f"the file of {CARD}, with SHA-256 {expected} {BROKEN}", found)
    return card


def is_packaged(network: str | Path) -> bool:
    """Return whether a path is that of a packaged file."""
    return Path(network).parent == FOLDER


def _rounded(estimate: Estimate) -> str:
    low, high = estimate.interval or (None, None)
    return f"{estimate.value:.2f}" if low is None else f"{estimate.value:.2f} [{low:.2f}, {high:.2f}]"
