"""Require that names and numbers in a run's result can be those of a run, so that tables and figures can be made."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.metrics.froc import THRESHOLDS
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.result import RunResult

LONGEST = 1000  # characters of a name
LARGEST = 1e15
SIGNED = {"rvd", "error"}
SHARES = {"dice", "jaccard", "paper_symbols", "voe", "dice_global", "dice_interval", "val_dice", "iou"}
POSITIVE = {"parameters", "size", "folds", "cpu_ms", "cpu_threads", "gpu_ms", "spacing"}
# Parts with scores that are not defined for every patient.
UNDEFINED = {"lesions", "liver", "tumour_burden", "voxel_ml"}


def require_plausible(result: RunResult, where: Path) -> None:
    """Require printable names, and numbers within the range of their field.

    Args:
        result: the result.
        where: the file, which errors name.

    Raises:
        InputError: if a value is not plausible; names the field.
    """
    for place, value in _leaves(as_plain(result)):
        expected = _expected(place, value)
        if expected is not None:
            raise InputError(where, f"{'.'.join(place)}: {expected}", repr(value)[:80])
    if result.fold >= result.folds:
        raise InputError(where, f"fold: less than folds, {result.folds}", result.fold)
    names = [case.case for case in result.cases]
    if len(set(names)) < len(names):
        raise InputError(where, "cases: each patient once", f"{max(names, key=names.count)} more than once")
    for case in result.cases:
        _require_froc(case, where)
        for counts in (case.voxels.lesion, case.voxels.liver):
            if counts.both > min(counts.predicted, counts.reference):
                raise InputError(where, f"voxels of {case.case}: at most as many in both masks as in one", counts)


def _require_froc(case: CaseScores, where: Path) -> None:
    """Require a row for each threshold, and at most as many found lesions of a size as the reference has."""
    if case.froc is None:
        return
    rows = {name: len(rows) for name, rows in case.froc.by_overlap().items()}
    if case.froc.thresholds != THRESHOLDS or set(rows.values()) != {len(THRESHOLDS)}:
        expected = f"froc of {case.case}: a row for each threshold of {', '.join(map(str, THRESHOLDS))}"
        raise InputError(where, expected, f"thresholds {case.froc.thresholds}, rows {rows}"[:80])
    sizes = case.by_size.by_size().values() if case.by_size else ()
    for row in (*case.froc.over_half, *case.froc.over_zero):
        if any(found > size.references for found, size in zip(row, sizes, strict=False)):
            expected = f"froc of {case.case}: found lesions of each size, at most those of the reference (by_size)"
            raise InputError(where, expected, row)


def _leaves(plain: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    parts = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else None
    if parts is None:
        yield place, plain
    else:
        for key, part in parts:
            yield from _leaves(part, (*place, str(key)))


def _expected(place: tuple[str, ...], value: Any) -> str | None:
    """Return what a field should contain instead of its value; None if the value is plausible."""
    if isinstance(value, str):
        return (
            None if value.isprintable() and len(value) <= LONGEST else f"printable text, at most {LONGEST} characters"
        )
    if value is None or isinstance(value, bool):
        return None
    name = next(part for part in reversed(place) if not part.isdigit())
    if abs(value) > LARGEST:
        return f"at most {LARGEST:g}"
    if math.isnan(value):
        return None if UNDEFINED & set(place) else "a number"
    if name in SHARES and not 0 <= value <= 1:
        return "between 0 and 1"
    if name in POSITIVE and value <= 0:
        return "more than 0"
    return "at least 0" if value < 0 and name not in SIGNED else None
