"""Further data sets that a network learns from, each with its share and with what its labels contain."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Gt, Lt

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Place, annotations, require_fits
from lits_seg.data.file_names import composed
from lits_seg.data.stored_case import StoredCase


@dataclass(frozen=True)
class Source:
    """A data set besides ``data.root``.

    Args:
        root: folder with volumes, in a layout of ``find_cases``.
        share: share of the training slices that are drawn from this data set, in (0, 1).
        lesions: which lesions are labelled: ``known``: all are labelled; ``absent``: the patients have none;
            ``unknown``: livers may have lesions that are not labelled, so that the loss ignores these livers.
        split: also validate and test on its patients, in the folds of ``data.root``; otherwise all patients train.

    Raises:
        InputError: if a setting is invalid.
    """

    root: Place
    share: Annotated[float, Gt(0), Lt(1)]
    lesions: Literal["known", "absent", "unknown"] = "known"
    split: bool = False

    def __post_init__(self) -> None:
        require_fits("data.sources: ", dict(annotations(Source)), vars(self))

    def cases(self, name: str, cases: Sequence[StoredCase]) -> list[StoredCase]:
        """Return the cases of this data set as its own.

        Args:
            name: name of the data set, which begins the names of its patients.
            cases: the cases in ``root``.

        Raises:
            InputError: if the labels have lesions although the patients have none.
        """
        labelled = [case.name for case in cases if any(case.lesion_pixels)]
        if self.lesions == "absent" and labelled:
            found = f"lesions of {', '.join(labelled)}"
            raise InputError(self.root, f"labels without lesions (data.sources.{name}.lesions=absent)", found)
        known = self.lesions != "unknown"
        return [replace(case, name=f"{name}-{case.name}", source=name, lesions_known=known) for case in cases]


def by_composed_name(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Return data sets by their names with composed letters, as patients' names have them.

    Args:
        sources: the data sets by any names.

    Raises:
        InputError: if two names differ in composed and decomposed letters only.
    """
    found: dict[str, Source] = {}
    for name, source in sources.items():
        if composed(name) in found:
            expected = "names that differ not only in composed and decomposed letters"
            raise InputError("data.sources", expected, f"{composed(name)} twice")
        found[composed(name)] = source
    return found


def own_names(names: Sequence[str], source: str, sources: Mapping[str, Source]) -> list[str]:
    """Return the patients of one data set by their names in that data set.

    Args:
        names: names as ``Source.cases`` returns them, and of patients of ``data.root``.
        source: name of the data set; empty for ``data.root``.
        sources: all further data sets.
    """
    if source:
        return [name.removeprefix(f"{source}-") for name in names if name.startswith(f"{source}-")]
    return [name for name in names if not any(name.startswith(f"{other}-") for other in sources)]


def require_own_names(names: Sequence[str], source: str, sources: Mapping[str, Source]) -> None:
    """Require that the names of patients in a new split show their data set, as ``own_names`` expects.

    Args:
        names: names of the patients in their data set.
        source: name of the data set; empty for ``data.root`` and ``data.test_root``.
        sources: all further data sets.

    Raises:
        InputError: if names begin with the name of another data set.
    """
    whole = [f"{source}-{name}" if source else name for name in names]
    unclear = [name for name in whole if any(name.startswith(f"{other}-") for other in sources if other != source)]
    if unclear:
        others = " or ".join(f"{name}-" for name in sources if name != source)
        raise InputError("data.sources", f"patients whose names do not begin with {others}", ", ".join(unclear))


def require_shares(sources: Mapping[str, Source], root: Path) -> None:
    """Require that the shares leave something for ``data.root``, and that no folder is given twice.

    Args:
        sources: the further data sets by name.
        root: the folder of ``data.root``.

    Raises:
        InputError: if the shares are too large, or if two data sets have the same folder.
    """
    total = sum(source.share for source in sources.values())
    if total >= 1:
        raise InputError("data.sources", "shares with a sum below 1, since data.root has the rest", f"{total:g}")
    folders = [root.resolve(), *(Path(source.root).resolve() for source in sources.values())]
    twice = {str(folder) for folder in folders if folders.count(folder) > 1}
    if twice:
        raise InputError("data.sources", "each folder once", ", ".join(sorted(twice)))


def require_slices(sources: Mapping[str, Source], drawn: Container[str], slices: str) -> None:
    """Require that every data set has slices to train on, as its share says.

    Args:
        sources: the further data sets by name.
        drawn: names of the data sets that have slices; empty for ``data.root``.
        slices: which slices train, see ``SliceDataModule``.

    Raises:
        InputError: if a data set has no slices; names the data sets.
    """
    lacking = [name or "data.root" for name in ("", *sources) if name not in drawn]
    if lacking:
        expected = f"training slices of every data set, for its share (data.slices={slices})"
        raise InputError("data.sources", expected, f"none of {', '.join(lacking)}")


def require_livers(cases: Sequence[StoredCase], root: Path) -> None:
    """Require labelled livers, into which synthetic lesions can be drawn.

    Args:
        cases: the training patients.
        root: folder that the error names.

    Raises:
        InputError: if nobody has a pixel of liver.
    """
    if not any(sum(case.liver_pixels) > sum(case.lesion_pixels) for case in cases):
        raise InputError(root, "labels of livers (augment.lesions draws lesions into livers)", "no pixel of liver")
