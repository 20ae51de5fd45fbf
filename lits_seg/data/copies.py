"""Find patients who are in a data set twice, or in two parts of a split, by their voxels."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.stored_case import StoredCase

log = logging.getLogger(__name__)

SHOWN = 20  # pairs in a message
HINT = "data.allow_overlap=true accepts them"


@dataclass(frozen=True)
class Patient:
    """A patient with the place that messages name, such as ``train``; an empty text names no place."""

    name: str
    place: str
    fingerprint: Fingerprint

    def __str__(self) -> str:
        return f"{self.name} ({self.place})" if self.place else self.name


Pair = tuple[Patient, Patient]


def patients(cases: Iterable[StoredCase], place: str) -> list[Patient]:
    """Return the patients of cases.

    Args:
        cases: the cases.
        place: what messages call the place of these cases.
    """
    return [Patient(case.name, place, case.fingerprint) for case in cases]


def same_patients(ours: Sequence[Patient], others: Sequence[Patient] | None = None) -> list[Pair]:
    """Return the pairs of patients with the same CT.

    Args:
        ours: the patients.
        others: patients to compare with; None: compare ``ours`` with one another.
    """
    candidates = combinations(ours, 2) if others is None else product(ours, others)
    return [(one, other) for one, other in candidates if one.fingerprint.same_ct(other.fingerprint)]


def in_words(pairs: Sequence[Pair]) -> str:
    """Name the pairs of patients with the same CT."""
    named = [f"{one} and {other}" for one, other in pairs[:SHOWN]]
    more = [f"{len(pairs) - SHOWN} more pairs"] if len(pairs) > SHOWN else []
    return "the same CT twice: " + ", ".join([*named, *more])


def require_no_leak(split: Mapping[str, Sequence[StoredCase]], root: Path, accepted: bool) -> None:
    """Require that no CT is in two parts of a split; warn if a CT is in one part twice.

    Args:
        split: patients for ``train``, ``val`` and ``test``. Validation and test may be the same patients.
        root: folder that messages name.
        accepted: warn instead of raising an error.

    Raises:
        InputError: if two parts share a CT; names the pairs.
    """
    parts = {part: cases for part, cases in split.items() if part != "val" or cases != split["test"]}
    pairs = same_patients([patient for part, cases in parts.items() for patient in patients(cases, part)])
    _refuse(
        [pair for pair in pairs if pair[0].place != pair[1].place], root, "each CT in one part of the split", accepted
    )
    _refuse([pair for pair in pairs if pair[0].place == pair[1].place], root, "each CT once", accepted=True)


def require_unseen(
    tested: Sequence[StoredCase], seen: Mapping[str, Mapping[str, str]], root: Path, accepted: bool
) -> None:
    """Require that no tested CT was used to train a network or to choose its checkpoint.

    Args:
        tested: the tested patients.
        seen: fingerprints of the patients of the network's run, by part of the split and name.
        root: folder that messages name.
        accepted: warn instead of raising an error.

    Raises:
        InputError: if a tested CT was used; names the pairs.
    """
    used = [Patient(name, part, Fingerprint.parse(text)) for part in seen for name, text in seen[part].items()]
    expected = "CTs on which this network was neither trained nor selected"
    _refuse(same_patients(patients(tested, "tested now"), used), root, expected, accepted)


def _refuse(pairs: Sequence[Pair], root: Path, expected: str, accepted: bool) -> None:
    if pairs and not accepted:
        raise InputError(root, f"{expected} ({HINT})", in_words(pairs))
    if pairs:
        log.warning("%s: %s", root, in_words(pairs))


def require_apart(root: Path, test_root: Path) -> None:
    """Require that the folder of the test patients is not the folder of the others, nor one within the other.

    Args:
        root: folder of the patients for training and validation.
        test_root: folder of the test patients.

    Raises:
        InputError: if the folders overlap.
    """
    one, other = root.resolve(), test_root.resolve()
    for outer, inner in ((one, other), (other, one)):
        # Of a folder in MSD layout, only imagesTr and labelsTr are read.
        if inner == outer or (inner.is_relative_to(outer) and not (outer / "imagesTr").is_dir()):
            raise InputError("data.test_root", f"a folder apart from data.root, {one} ({HINT})", other)
