"""What ``evaluate`` says of masks: tables for people, files for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lits_seg import RESEARCH_USE
from lits_seg.common.files import write_text
from lits_seg.common.tables import csv_text, json_text, markdown, number, with_interval
from lits_seg.metrics.detection import OVERLAPS
from lits_seg.metrics.statistics import compare_cases, summarise_cases

CASES, LESIONS, SUMMARY, EVALUATION, COMPARISON = (
    "cases.csv",
    "lesions.csv",
    "summary.csv",
    "evaluation.json",
    "comparison",
)
DEFINITIONS = "LiTS challenge (2018 correction); lesions connect by faces; undefined values are null"
LESION_COLUMNS = ("case", "merged_references", "merged_predictions", "iou")
IOU = tuple(f"iou>{overlap:g}" for overlap in OVERLAPS)
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


def write_scores(output: Path, cases: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Writes ``cases.csv``, ``lesions.csv``, ``summary.csv`` and ``evaluation.json``; gives the text to print."""
    summary = summarise_cases(cases)
    counts = {name: sum(case["detection"][IOU[0]][name] for case in cases) for name in ("tp", "fn", "fp")}
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / CASES, csv_text([flat_case(case) for case in cases]))
    lesions = [{"case": case["case"], **lesion} for case in cases for lesion in case["lesions"]]
    write_text(output / LESIONS, csv_text(lesions, LESION_COLUMNS))
    write_text(output / SUMMARY, csv_text([_flat_figure(name, figure) for name, figure in summary.items()]))
    result = {**facts, "patients": len(cases), "summary": _nested(summary), "cases": cases}
    write_text(output / EVALUATION, json_text(result))
    missed = f"* {counts['tp']} of {counts['tp'] + counts['fn']} lesions found, {counts['fp']} false (IoU > 0.5)"
    lines = (_patients(len(cases), facts), "", case_table(cases), "", summary_table(summary), "", missed)
    return "\n".join((*lines, *_warnings(cases), RESEARCH_USE))


def write_comparison(output: Path, a: list[dict[str, Any]], b: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    """Writes ``comparison.csv`` and ``comparison.json`` and both programs' ``cases.csv``; gives the text to print."""
    compared = compare_cases(a, b)
    output.mkdir(parents=True, exist_ok=True)
    rows = [{"program": name, **flat_case(case)} for name, cases in (("a", a), ("b", b)) for case in cases]
    write_text(output / CASES, csv_text(rows))
    write_text(output / f"{COMPARISON}.csv", csv_text([_flat_figure(*row) for row in compared.items()]))
    result = {**facts, "patients": len(a), "comparison": _nested(compared), "cases_a": a, "cases_b": b}
    write_text(output / f"{COMPARISON}.json", json_text(result))
    header = ("score", "a", "b", "a - b [95 %]", "p", "a better", "b better", "equal")
    table = markdown(
        header, [_comparison_row(name, row) for name, row in compared.items() if _told(row["a"], row["b"])]
    )
    return "\n".join((_patients(len(a), facts), "", table, "", f"p: paired permutation test. {RESEARCH_USE}"))


def flat_case(case: dict[str, Any]) -> dict[str, Any]:
    """One patient as a row: ``part_name``, volumes in mL by the reference's spacing."""
    x, y, z = case["spacing"]
    row: dict[str, Any] = {"case": case["case"]}
    for part in ("lesion", "liver"):
        _, predicted, reference = (voxels * x * y * z / 1000 for voxels in case["voxels"][part])
        row |= {f"{part}_reference_ml": reference, f"{part}_predicted_ml": predicted}
        row |= {f"{part}_{name}": value for name, value in case[part].items()}
    row |= {f"lesions_{name}": case["detection"][name] for name in ("references", "predictions")}
    row |= {f"{name}_{overlap}": count for overlap in IOU for name, count in case["detection"][overlap].items()}
    return row | {f"tumour_burden_{name}": value for name, value in case["tumour_burden"].items()}


def case_table(cases: Sequence[dict[str, Any]]) -> str:
    """A row a patient."""
    header = (
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
    return markdown(
        header,
        [
            (
                case["case"],
                number(case["lesion"]["dice"]),
                number(case["lesion"]["jaccard"]),
                str(case["detection"]["references"]),
                str(case["detection"][IOU[0]]["tp"]),
                str(case["detection"][IOU[0]]["fp"]),
                number(case["liver"]["dice"]),
                number(case["liver"]["assd"]),
                number(case["tumour_burden"]["error"]),
            )
            for case in cases
        ],
    )


def summary_table(summary: dict[str, dict[str, Any]]) -> str:
    """A row a figure, with its interval and how many patients it has no meaning for."""
    rows = [
        (_title(name), with_interval(figure["value"], figure["interval"]), str(figure["undefined"] or ""))
        for name, figure in summary.items()
    ]
    return markdown(("score", "value [95 %]", "undefined in"), rows)


def _patients(count: int, facts: dict[str, Any]) -> str:
    kind = " (synthetic CT)" if facts["synthetic"] else ""
    return f"{count} patient{'s' * (count != 1)} of {facts['references']}{kind}"


def _warnings(cases: Sequence[dict[str, Any]]) -> list[str]:
    unit = [case["case"] for case in cases if tuple(case["spacing"]) == (1, 1, 1)]
    found = []
    if unit:
        found.append(
            f"warning: spacing of 1 mm in {len(unit)} references ({_some(unit)}): mm and mL mean nothing if it was lost"
        )
    no_liver = [case["case"] for case in cases if case["voxels"]["lesion"][1] == case["voxels"]["liver"][1]]
    if no_liver:
        found.append(
            f"warning: no voxel of value 1 in {len(no_liver)} masks ({_some(no_liver)}): no liver was predicted there "
            "(Dice 0, no distances, no tumour burden)"
        )
    if not any(case["voxels"]["lesion"][1] for case in cases):
        found.append("warning: no voxel of value 2 in any mask: no lesion was predicted")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + ", …" * (len(names) > 5)


def _comparison_row(name: str, row: dict[str, Any]) -> tuple[str, ...]:
    difference = with_interval(row["difference"], row["interval"])
    each = (number(row["p"], 4), *(str(row[key]) for key in ("wins_a", "wins_b", "ties"))) if "p" in row else ("",) * 4
    return (_title(name), number(row["a"]), number(row["b"]), difference, *each)


def _title(name: str) -> str:
    part, *middle, score = name.split("/")
    return " ".join(
        (
            part.replace("_", " "),
            *(text.replace(">", " > ").replace("iou", "IoU") for text in middle),
            TITLES.get(score, score),
        )
    )


def _told(*values: float) -> bool:
    return any(value == value for value in values)


def _nested(figures: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, figure in figures.items():
        *parts, last = name.split("/")
        branch = tree
        for part in parts:
            branch = branch.setdefault(part, {})
        branch[last] = figure
    return tree


def _flat_figure(name: str, figure: dict[str, Any]) -> dict[str, Any]:
    low, high = figure["interval"] or (None, None)
    return {
        "score": name,
        **{key: value for key, value in figure.items() if key != "interval"},
        "low": low,
        "high": high,
    }
