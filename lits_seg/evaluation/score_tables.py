"""Write the scores of masks, as tables for people and as files for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lits_seg import RESEARCH_USE
from lits_seg.common.files import write_text
from lits_seg.common.ownership import Kind, json_file, table_file
from lits_seg.common.records import as_plain
from lits_seg.common.tables import csv_text, json_text, markdown, number, plural, with_interval
from lits_seg.evaluation.detection_tables import detection_block, detection_comparison
from lits_seg.metrics.scores import CaseScores, flat_case
from lits_seg.metrics.statistics import Difference, Estimate, Interval, compare_cases, froc_points, summarise_cases
from lits_seg.runs.detection_table import FROC_COLUMNS, froc_row, in_detection_table

CASES = "cases.csv"
LESIONS = "lesions.csv"
SUMMARY = "summary.csv"
FROC = "froc.csv"
EVALUATION = "evaluation.json"
COMPARISON_TABLE = "comparison.csv"
COMPARISON = "comparison.json"

DEFINITIONS = "LiTS challenge (2018 correction); lesions connect by faces; undefined values are null"
LESION_COLUMNS = ("case", "merged_references", "merged_predictions", "iou")
CASE_COLUMNS = (
    "case",
    "lesion Dice",
    "Jaccard",
    "lesions",
    "found*",
    "false*",
    "liver Dice",
    "liver ASSD mm",
    "burden error",
)
TITLES = {
    "dice_per_case": "Dice per case",
    "dice_global": "Dice global",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "paper_symbols": "precision (the paper's formula)",
    "voe": "VOE",
    "rvd": "RVD",
    "assd": "ASSD mm",
    "rmsd": "RMSD mm",
    "msd": "MSD mm",
    "rmse": "RMSE",
    "max_error": "largest error",
}
SHOWN_NAMES = 5
_CASES = table_file("case,lesion_", "program,case,lesion_")


@dataclass(frozen=True)
class References:
    """The reference masks.

    Args:
        references: the folder, as the user gave it.
        synthetic: whether the CT is synthetic; None if unknown.
        unscored: errors of the masks that cannot be scored and are not in the tables.
    """

    references: str
    synthetic: bool | None
    unscored: list[str] = field(default_factory=list)


def score_files(output: Path) -> dict[Path, Kind]:
    """Return the files that ``write_scores`` writes into a folder, with their kinds."""
    kinds = {CASES: _CASES, LESIONS: table_file(",".join(LESION_COLUMNS)), SUMMARY: table_file("score,value,")}
    kinds[FROC] = table_file(",".join(FROC_COLUMNS))
    kinds[EVALUATION] = json_file("table", "lits_seg", "definitions", "summary")
    return {output / name: kind for name, kind in kinds.items()}


def comparison_files(output: Path) -> dict[Path, Kind]:
    """Return the files that ``write_comparison`` writes into a folder, with their kinds."""
    kinds = {CASES: _CASES, COMPARISON_TABLE: table_file("score,a,b,")}
    kinds[COMPARISON] = json_file("table", "lits_seg", "definitions", "comparison")
    return {output / name: kind for name, kind in kinds.items()}


def write_scores(
    output: Path, cases: Sequence[CaseScores], references: References, facts: Mapping[str, Any] | None = None
) -> str:
    """Write ``cases.csv``, ``lesions.csv``, ``summary.csv``, ``froc.csv`` and ``evaluation.json``.

    Args:
        output: folder for the files.
        cases: scores of each patient.
        references: the reference masks.
        facts: further entries of ``evaluation.json``, such as versions.

    Returns:
        The text to print.
    """
    summary = summarise_cases(cases)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / CASES, csv_text([flat_case(case) for case in cases]))
    lesions = [{"case": case.case, **asdict(lesion)} for case in cases for lesion in case.lesions]
    write_text(output / LESIONS, csv_text(lesions, LESION_COLUMNS))
    write_text(output / SUMMARY, csv_text([_estimate_row(name, estimate) for name, estimate in summary.items()]))
    curves = [froc_row(point) for point in froc_points(cases)]
    write_text(output / FROC, csv_text(curves, FROC_COLUMNS))
    results = {"patients": len(cases), "summary": _nested(as_plain(summary)), "froc": curves or None}
    results["cases"] = as_plain(cases)
    write_text(output / EVALUATION, _evaluation_json(references, facts, results))
    lines = [_patients(len(cases), references), "", case_table(cases), "", summary_table(summary), ""]
    lines += [detection_block(cases, summary), "", _found(cases)]
    return "\n".join([*lines, *_unscored(references), *_warnings(cases), RESEARCH_USE])


def write_comparison(
    output: Path,
    a: Sequence[CaseScores],
    b: Sequence[CaseScores],
    references: References,
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Write ``comparison.csv``, ``comparison.json``, and ``cases.csv`` with the scores of both programs.

    Args:
        output: folder for the files.
        a: scores of the first program's masks, for each patient.
        b: scores of the second program's masks, for the same patients in the same order.
        references: the reference masks.
        facts: further entries of ``comparison.json``.

    Returns:
        The text to print.
    """
    compared = compare_cases(a, b)
    output.mkdir(parents=True, exist_ok=True)
    rows = [{"program": program, **flat_case(case)} for program, cases in (("a", a), ("b", b)) for case in cases]
    write_text(output / CASES, csv_text(rows))
    rows = [{"score": name, **_with_bounds(_plain_difference(row), row.interval)} for name, row in compared.items()]
    write_text(output / COMPARISON_TABLE, csv_text(rows))
    plain = {name: _plain_difference(row) for name, row in compared.items()}
    results = {"patients": len(a), "comparison": _nested(plain), "cases_a": as_plain(a), "cases_b": as_plain(b)}
    write_text(output / COMPARISON, _evaluation_json(references, facts, results))
    note = f"p: paired permutation test. {RESEARCH_USE}"
    lines = [_patients(len(a), references), "", comparison_table(compared), "", detection_comparison(compared), ""]
    return "\n".join([*lines, *_unscored(references), *_reference_warnings(a), note])


def case_table(cases: Sequence[CaseScores]) -> str:
    """Return a table with a row for each patient."""
    rows = [
        (
            case.case,
            number(case.lesion.dice),
            number(case.lesion.jaccard),
            str(case.detection.references),
            str(case.detection.over_half.tp),
            str(case.detection.over_half.fp),
            number(case.liver.dice),
            number(case.liver.assd),
            number(case.tumour_burden.error),
        )
        for case in cases
    ]
    return markdown(CASE_COLUMNS, rows)


def summary_table(summary: Mapping[str, Estimate]) -> str:
    """Return a table with a row for each score: value, interval, and the number of patients without a value.

    Detection by size and FROC have a table of their own, see ``detection_block``.
    """
    rows = [
        (_title(name), with_interval(estimate.value, estimate.interval), str(estimate.undefined or ""))
        for name, estimate in summary.items()
        if not in_detection_table(name)
    ]
    return markdown(("score", "value [95 %]", "undefined in"), rows)


def comparison_table(compared: Mapping[str, Difference]) -> str:
    """Return a table with a row for each score that at least one of the two programs has."""
    header = ("score", "a", "b", "a - b [95 %]", "p", "a better", "b better", "equal")
    rows = []
    for name, row in compared.items():
        a, b = number(row.a), number(row.b)
        if in_detection_table(name) or a == b == number(None):
            continue
        each = ("", "", "", "")  # only means over patients have a test
        if row.test is not None:
            each = (number(row.test.p, 4), str(row.test.wins_a), str(row.test.wins_b), str(row.test.ties))
        rows.append((_title(name), a, b, with_interval(row.difference, row.interval), *each))
    return markdown(header, rows)


def _patients(count: int, references: References) -> str:
    kind = " (synthetic CT)" if references.synthetic else ""
    return f"{plural(count, 'patient')} of {references.references}{kind}"


def _unscored(references: References) -> list[str]:
    return [f"warning: not in the tables: {error}" for error in references.unscored]


def _found(cases: Sequence[CaseScores]) -> str:
    counts = [case.detection.over_half for case in cases]
    found, missed, false = (sum(getattr(one, name) for one in counts) for name in ("tp", "fn", "fp"))
    return f"* {found} of {found + missed} lesions found, {false} false (IoU > 0.5)"


def _warnings(cases: Sequence[CaseScores]) -> list[str]:
    warnings = _reference_warnings(cases)
    unit = [case.case for case in cases if case.spacing == (1, 1, 1)]
    if unit:
        warnings.append(
            f"warning: spacing of 1 mm in {len(unit)} references ({_some(unit)}): if the true spacing was lost, "
            "values in mm and mL are wrong"
        )
    no_liver = [case.case for case in cases if case.voxels.lesion.predicted == case.voxels.liver.predicted]
    if no_liver:
        warnings.append(
            f"warning: no voxel of value 1 in {len(no_liver)} masks ({_some(no_liver)}): no liver was predicted there "
            "(Dice 0, no distances, no tumour burden)"
        )
    if not any(case.voxels.lesion.predicted for case in cases):
        warnings.append("warning: no voxel of value 2 in any mask: no lesion was predicted")
    return warnings


def _reference_warnings(cases: Sequence[CaseScores]) -> list[str]:
    """Warn if the references lack a label, as masks do that have lesions as 1, or lesions alone."""
    counts = [case.voxels for case in cases]
    warnings = []
    if not any(voxels.lesion.reference for voxels in counts):
        warnings.append("warning: no voxel of value 2 in any reference: no lesion is labelled (1 is liver)")
    elif all(voxels.lesion.reference == voxels.liver.reference for voxels in counts):
        warnings.append("warning: no voxel of value 1 in any reference: no liver is labelled, so its scores are wrong")
    return warnings


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    return f"{shown}, …" if len(names) > SHOWN_NAMES else shown


def _title(name: str) -> str:
    part, *middle, score = name.split("/")
    overlaps = [text.replace(">", " > ").replace("iou", "IoU") for text in middle]
    return " ".join([part.replace("_", " "), *overlaps, TITLES.get(score, score)])


def _evaluation_json(references: References, facts: Mapping[str, Any] | None, results: Mapping[str, Any]) -> str:
    return json_text({**(facts or {}), **as_plain(references), "definitions": DEFINITIONS, **results})


def _nested(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Nest values by the parts of their names: ``{"lesion/dice": 1}`` becomes ``{"lesion": {"dice": 1}}``."""
    tree: dict[str, Any] = {}
    for name, figure in figures.items():
        *parts, last = name.split("/")
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[last] = figure
    return tree


def _estimate_row(name: str, estimate: Estimate) -> dict[str, Any]:
    return {"score": name, **_with_bounds(asdict(estimate), estimate.interval)}


def _plain_difference(row: Difference) -> dict[str, Any]:
    """Return a comparison as a flat mapping for files, with the entries of the test, if any, among the others."""
    plain = as_plain(row)
    test = plain.pop("test")
    return plain if test is None else plain | test


def _with_bounds(row: Mapping[str, Any], interval: Interval | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {**{key: value for key, value in row.items() if key != "interval"}, "low": low, "high": high}
