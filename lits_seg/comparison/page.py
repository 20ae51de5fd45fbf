"""Write the report as a self-contained HTML page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lits_seg import RESEARCH_USE
from lits_seg.common.html import render
from lits_seg.common.tables import DASH
from lits_seg.comparison import rows
from lits_seg.comparison.claims import claims
from lits_seg.comparison.figures import NAMED, learning, pareto, whole_variants
from lits_seg.comparison.finished_runs import Found
from lits_seg.comparison.froc_figure import froc
from lits_seg.comparison.lesion_sizes import size_notes, size_table
from lits_seg.comparison.notes import group_notes, run_notes
from lits_seg.comparison.overlays import overlays
from lits_seg.comparison.pool import DICE, SCORES, Group, Variant
from lits_seg.comparison.reliability_curves import NOTE, reliability_figure, reliability_table
from lits_seg.comparison.text import DEFINITIONS, PAIRS, TRAINING, about

BRACKETS = re.compile(r"^(.*?) ([\[(].*)$")
FRONT = "Filled markers and dotted line: the Pareto front among variants that were tested on all patients."
NUMBERS = " Numbers refer to the table."
OPEN = 2  # number of variants whose patients are shown without a click


@dataclass(frozen=True)
class Cell:
    """A table cell; ``small`` is an interval or a remark in brackets, shown below the text."""

    text: str
    small: str
    numeric: bool


@dataclass(frozen=True)
class HtmlTable:
    """A table as the template expects it."""

    header: list[Cell]
    rows: list[list[Cell]]


def page(groups: Sequence[Group], found: Found, margin: float) -> str:
    """Return the report as an HTML page.

    Args:
        groups: the compared variants.
        found: all runs, also those that are not in the tables.
        margin: largest loss in Dice per case that still counts as no worse.
    """
    synthetic = all(group.tested_on.synthetic for group in groups)
    return render(
        "comparison.html.j2",
        title="Comparison of runs on synthetic CT" if synthetic else "Comparison of runs",
        use=RESEARCH_USE,
        notes=run_notes(found),
        groups=[_group(group, margin) for group in groups],
        other_runs=rows.other_runs(found),
        versions=html_table(rows.version_table(found.finished)),
        definitions=DEFINITIONS,
        training_note=TRAINING,
        pairs_note=PAIRS,
    )


def html_table(content: rows.Table) -> HtmlTable:
    """Convert a table of text for the template, which aligns numeric columns to the right."""
    header, lines = content
    numeric = [all(_is_number(line[column]) for line in lines) for column in range(len(header))]
    return HtmlTable(_cells(header, numeric), [_cells(line, numeric) for line in lines])


def _group(group: Group, margin: float) -> dict[str, Any]:
    kind = ", on synthetic CT" if group.tested_on.synthetic else ""
    calibrated = reliability_table(group)
    return {
        "title": group.title,
        "about": about(group),
        "notes": group_notes(group),
        "baseline": group.baseline.name,
        "scores": html_table(rows.score_table(group, tuple(SCORES))),
        "pareto": Markup(pareto(group)),
        "pareto_caption": FRONT + NUMBERS if len(group.variants) > NAMED else FRONT,
        "sizes": html_table(size_table(group)),
        "sizes_notes": size_notes(group),
        "froc": Markup(froc(group)) if any(variant.froc for variant in group.variants) else None,
        "reliability": calibrated and html_table(calibrated),
        "reliability_figure": Markup(reliability_figure(group)) if calibrated else None,
        "reliability_note": NOTE,
        "cost": html_table(rows.cost_table(group)),
        "pairs": html_table(rows.pair_table(group)) if group.pairs else None,
        "claims": [
            {
                "title": title + kind,
                "table": html_table(rows.claim_table(found)),
                "rules": [f"{claim.claim}: {claim.rule}." for claim in found],
            }
            for title, found in claims(group, margin)
        ],
        "learning": Markup(learning(group)),
        "patients": [
            {"name": variant.name, "open": number < OPEN, "overlays": overlays(variant)}
            for number, variant in enumerate(_shown_first(group))
        ],
    }


def _shown_first(group: Group) -> list[Variant]:
    """Return all variants, the best one and the baseline first."""
    whole = whole_variants(group.variants)
    candidates = [variant for variant in group.variants if variant.name in whole] or group.variants
    best = max(candidates, key=lambda variant: variant.scores[DICE].value)
    return list({variant.name: variant for variant in (best, group.baseline, *group.variants)}.values())


def _cells(texts: Sequence[str], numeric: Sequence[bool]) -> list[Cell]:
    cells = []
    for text, aligned in zip(texts, numeric, strict=True):
        parts = BRACKETS.match(text)
        cells.append(Cell(parts[1], parts[2], aligned) if parts else Cell(text, "", aligned))
    return cells


def _is_number(cell: str) -> bool:
    return cell == DASH or cell.lstrip("+-")[:1].isdigit()
