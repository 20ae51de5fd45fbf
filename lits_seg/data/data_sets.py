"""Find the patients of one or several data sets, write them to the store, and assign each to a part of the split."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.data.burden import swapped
from lits_seg.data.copies import require_no_leak, require_unseen
from lits_seg.data.crop import cut_cases
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.named_splits import ALL, count_folds, named_patients, named_split
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.sources import Source, own_names, require_own_names
from lits_seg.data.split_record import SplitRecord, recorded_cases
from lits_seg.data.splits import PARTS, Split, require_fold, split_patients
from lits_seg.data.store import open_cases, store_cases
from lits_seg.data.stored_case import StoredCase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitSettings:
    """The choice of a new split, see ``split_patients`` and ``named_split``."""

    name: str
    folds: int
    fold: int
    val_share: float | None
    seed: int

    def __call__(self, cases: Sequence[StoredCase]) -> Split:
        """Split the patients of a data set."""
        if self.name != "folds":
            return named_split(self.name, cases, self.val_share, self.seed, self.folds, self.fold)
        return split_patients(cases, folds=self.folds, fold=self.fold, val_share=self.val_share, seed=self.seed)

    def every_fold(self, cases: Sequence[StoredCase]) -> list[Split]:
        """Split the patients of a data set for each fold in turn: once for a split without folds, never for ``all``."""
        return [replace(self, fold=fold)(cases) for fold in range(self._count())]

    def require(self, names: Sequence[str]) -> None:
        """Require what the split requires of the names and the number of patients, before their CT are read.

        Args:
            names: names of the patients.

        Raises:
            InputError: if the split is unknown, its file is damaged, or there are too few patients.
        """
        if self.name == "folds":
            require_fold(len(names), self.folds, self.fold, self.val_share)
        else:
            named_patients(self.name, names, self.folds, self.fold)

    def require_every_fold(self, names: Sequence[str]) -> None:
        """Require the same for every fold."""
        for fold in range(self._count()):
            replace(self, fold=fold).require(names)

    def _count(self) -> int:
        if self.name == "folds":
            return self.folds
        return 0 if self.name == ALL else count_folds(self.name) or 1


@dataclass(frozen=True)
class Folder:
    """The folder of a data set: its name, empty for ``root`` and ``test_root``, and the parts of its patients."""

    root: Path
    parts: Sequence[str]
    source: str = ""


@dataclass(frozen=True)
class DataSets:
    """The data sets of a training. The arguments are those of ``SliceDataModule``."""

    root: Path
    test_root: Path | None
    sources: Mapping[str, Source]
    store: Path
    preprocess: Preprocess
    workers: int
    skip: bool
    new_split: SplitSettings
    recorded: SplitRecord | None
    trained_on: Mapping[str, Mapping[str, str]]
    allow_overlap: bool

    def prepare(self) -> None:
        """Fill the store; name the unusable cases, and those that are not in the recorded split."""
        for folder in self._folders():
            cases, added, errors = self._find(folder)
            if self.recorded is None:
                names = [case.name for case in cases]
                require_own_names(names, folder.source, self.sources)
                if folder.root == self.root != self.test_root:  # which is tested as a whole
                    self.new_split.require(names)  # preparing all volumes may take an hour
            if added:
                log.warning("%s: not used, since they are not in this run's split: %s", folder.root, ", ".join(added))
            self._store(cases, errors)
            for error in errors or ():
                log.warning("skipped: %s", error)

    def split(self) -> Split:
        """Return the patients for training and validation, and those of ``root`` and ``sources`` for the test.

        If unusable cases are skipped, these are the cases that ``prepare`` has written to the store.
        """
        parts: Split = {}
        for folder in self._folders():
            if folder.parts != PARTS[2:]:
                for part, cases in self._split(folder).items():
                    parts[part] = [*parts.get(part, []), *cases]
        return parts

    def tested(self) -> list[StoredCase]:
        """Return the patients of ``test_root``, all of whom are tested.

        Raises:
            InputError: if the network was trained on one of them.
        """
        root = self.test_root or self.root
        cases = self._usable(Folder(root, PARTS[2:]))
        require_unseen(cases, self.trained_on, root, self.allow_overlap)
        return cases

    def require_no_leak(self, split: Split) -> None:
        """Require that no CT is in two parts of a split.

        Raises:
            InputError: if two parts share a CT. What a run has recorded is not chosen anew: a leak is only named.
        """
        require_no_leak(split, self.root, self.allow_overlap or self.recorded is not None)

    def require_every_fold(self) -> None:
        """Require that the patients in ``root`` can be split for every fold; reads the names of files, no volume.

        Raises:
            InputError: see ``SplitSettings.require_every_fold``.
        """
        cases, _, _ = self._find(Folder(self.root, PARTS))
        self.new_split.require_every_fold([case.name for case in cases])

    def stored(self, root: Path) -> tuple[list[StoredCase], list[InputError]]:
        """Write all cases below a folder to the store; return them, and the errors of skipped cases."""
        cases, _, errors = self._find(Folder(root, PARTS))
        return self._store(cases, errors), errors or []

    def _folders(self) -> list[Folder]:
        split = PARTS if self.test_root is None else PARTS[:2]
        more = [Folder(Path(s.root), split if s.split else PARTS[:1], name) for name, s in self.sources.items()]
        test = [] if self.test_root is None else [Folder(self.test_root, PARTS[2:])]
        return [Folder(self.root, split), *more, *test]

    def _find(self, folder: Folder) -> tuple[list[Case], list[str], list[InputError] | None]:
        """Find the cases in a folder.

        Returns:
            The cases; the names of others that are not in the recorded split; and a list of the errors of unusable
            cases, to which more may be added, or None if the first error ends the command.
        """
        if not folder.root.is_dir():
            found = "no such folder"
            if not folder.root.is_absolute():  # which means another folder in another place
                found += f": {folder.root.absolute()}"
            raise InputError(folder.root, "a folder with CT volumes", found)
        if self.recorded is not None:  # every recorded patient must be usable
            names = own_names(self.recorded.names(*folder.parts), folder.source, self.sources)
            return *recorded_cases(folder.root, names), None
        errors: list[InputError] | None = [] if self.skip else None
        return find_cases(folder.root, errors), [], errors

    def _store(self, cases: Sequence[Case], errors: list[InputError] | None) -> list[StoredCase]:
        return store_cases(cases, self.preprocess, self.store, self.workers, errors)

    def _usable(self, folder: Folder) -> list[StoredCase]:
        cases, _, errors = self._find(folder)
        # Skipped cases are not read again: what is in the store is the same for all ranks.
        stored = self._store(cases, None) if errors is None else open_cases(cases, self.preprocess, self.store)
        if not stored:
            raise InputError(folder.root, "a usable case", f"{len(errors or ()) + len(cases)} unusable")
        for warning in [*swapped([case.check.burden for case in stored]), *cut_cases(stored)]:
            log.warning("%s: %s", folder.root, warning)
        return stored

    def _split(self, folder: Folder) -> Split:
        cases = self._usable(folder)
        if folder.source:
            cases = self.sources[folder.source].cases(folder.source, cases)
        if self.recorded is not None:
            by_name = {case.name: case for case in cases}
            return {part: [by_name[n] for n in self.recorded.names(part) if n in by_name] for part in folder.parts}
        if folder.parts == PARTS[:1]:
            return {"train": cases}
        split = self.new_split(cases)
        if held_out := [case.name for case in split.get("test", ()) if "test" not in folder.parts]:
            names = ", ".join(held_out)
            log.warning(
                "%s: held out by the split and not tested, since data.test_root is tested instead: %s",
                folder.root,
                names,
            )
        return split
