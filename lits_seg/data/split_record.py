"""The record of a split, ``split.json``: the patients of each part, by their names and the hashes of their voxels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lits_seg.common.errors import InputError
from lits_seg.common.records import from_plain, read_record
from lits_seg.data.file_names import composed
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.splits import PARTS, Split

NAME = "the split of a run (a list of names of patients for each part, and hashes of voxels)"
RECORD = "split.json, the split of this run"


@dataclass(frozen=True)
class SplitRecord:
    """The content of ``split.json``, and of a file for ``data.split``. Names become ``composed``, as those of files.

    Args:
        train: names of the patients for training.
        val: names of the patients for validation.
        test: names of the patients for the test.
        voxels: text of the patients' fingerprints, by part and name; earlier versions did not write them.
        inherited: fingerprints of the other patients that the networks have seen which this run started from or learned
            from, by place and name. A place is such as ``train of init_from``. Earlier versions did not write them.

    Raises:
        InputError: if a text is no fingerprint.
    """

    train: list[str]
    val: list[str]
    test: list[str]
    voxels: dict[str, dict[str, str]] = field(default_factory=dict)
    inherited: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in PARTS:
            object.__setattr__(self, part, [composed(name) for name in getattr(self, part)])
        for hashes in ("voxels", "inherited"):
            object.__setattr__(self, hashes, {place: _named(texts) for place, texts in getattr(self, hashes).items()})

    @classmethod
    def of(cls, split: Split, inherited: Mapping[str, Mapping[str, str]] | None = None) -> "SplitRecord":
        """Record a split.

        Args:
            split: the patients.
            inherited: see the class; patients of this split, and those that are there twice, are left out.
        """
        names = {part: [case.name for case in split[part]] for part in PARTS}
        voxels = {part: {case.name: str(case.fingerprint) for case in split[part]} for part in PARTS}
        known, others = {text for part in PARTS[:2] for text in voxels[part].values()}, {}
        for place, texts in (inherited or {}).items():
            if new := {name: text for name, text in texts.items() if text not in known}:
                others[place] = new
                known.update(new.values())
        return cls(**names, voxels=voxels, inherited=others)

    @classmethod
    def parse(cls, plain: Any) -> "SplitRecord":
        """Validate the content of ``split.json``; raise ``InputError`` if a part is missing or of another type."""
        return from_plain(cls, plain, RECORD, NAME)

    @classmethod
    def read(cls, path: Path) -> "SplitRecord":
        """Read a file; raise ``InputError`` if the file is missing or damaged."""
        return read_record(cls, path, NAME)

    def names(self, *parts: str) -> list[str]:
        """Return the names of the patients of some parts, each once."""
        return list(dict.fromkeys(name for part in parts for name in getattr(self, part)))

    def seen(self) -> dict[str, dict[str, str]]:
        """Return the fingerprints of the patients that a network has trained on or been chosen by, by place and name.

        They include the patients of the networks before it, see ``inherited``.
        """
        return {**{part: self.voxels.get(part, {}) for part in PARTS[:2]}, **self.inherited}

    def require_each_once(self, one_set: bool, where: object = RECORD) -> None:
        """Require that no patient is named twice; validation and test may have the same patients.

        Args:
            one_set: whether the test patients are from the same data set as the others.
            where: the file that errors name.

        Raises:
            InputError: if a patient is named twice.
        """
        named = self.train + self.val + (self.test if one_set and set(self.test) != set(self.val) else [])
        twice = {name for names in (named, self.test) for name in names if names.count(name) > 1}
        if twice:
            raise InputError(where, "every patient once", f"more than once: {', '.join(sorted(twice))}")

    def require_unchanged(self, split: Split) -> None:
        """Require that patients have the recorded voxels and labels; without hashes, nothing is compared.

        Raises:
            InputError: if voxels or labels have changed; names the patients.
        """
        changed = []
        for part, cases in split.items():
            for case in cases:
                text, now = self.voxels.get(part, {}).get(case.name), case.fingerprint
                before = now if text is None else Fingerprint.parse(text)
                changes = [what for what in ("image", "label") if getattr(before, what) != getattr(now, what)]
                if changes:
                    changed.append(f"{case.name} ({part}: {' and '.join(changes)})")
        if changed:
            raise InputError(RECORD, "the voxels and labels of that time", f"others now: {', '.join(changed)}")


def _named(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of fingerprints by composed names; raise ``InputError`` if a text is no fingerprint."""
    for text in texts.values():
        Fingerprint.parse(text)
    return {composed(name): text for name, text in texts.items()}


def recorded_cases(root: Path, names: Sequence[str]) -> tuple[list[Case], list[str]]:
    """Find the files of recorded patients, in the order of the record.

    Args:
        root: folder with volumes.
        names: names of the patients.

    Returns:
        The files, and the names of the other patients in the folder.

    Raises:
        InputError: if patients are missing; names all of them.
    """
    unpaired: list[InputError] = []
    found = {case.name: case for case in find_cases(root, unpaired)}
    missing = [name for name in names if name not in found]
    if missing:
        reasons = "".join(f"\n{error}" for error in unpaired)
        raise InputError(root, f"the {len(names)} patients of {RECORD}", f"none for {', '.join(missing)}{reasons}")
    return [found[name] for name in names], [name for name in found if name not in names]
