"""The report as one HTML file that needs nothing else, to be read, printed or sent."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lits_seg import RESEARCH_USE
from lits_seg.comparison import rows
from lits_seg.comparison.claims import claims
from lits_seg.comparison.folders import Found
from lits_seg.comparison.learning import learning
from lits_seg.comparison.overlays import Overlay, overlays
from lits_seg.comparison.pareto import NAMED, pareto, whole_variants
from lits_seg.comparison.pool import SCORES, Group, Variant
from lits_seg.comparison.text import DEFINITIONS, PAIRS, TRAINING, about

TEMPLATE = Path(__file__).with_name("comparison.html")
BRACKETS = re.compile(r"^(.*?) ([\[(].*)$")
FRONT = "Filled: no other variant with all patients costs no more and scores as well (the front, dotted)."
NUMBERS = " Numbers: those of the table."
SLICES = "The slice with the most lesion: image, truth, prediction. Red: lesion; cyan: liver, where known."
OPEN = 2  # so many variants show their patients at once


def page(groups: Sequence[Group], found: Found, notes: Sequence[str], margin: float) -> str:
    """The page. ``notes``: of the code that made the runs."""
    synthetic = all(group.facts["synthetic"] for group in groups)
    title = f"Comparison of runs{' on synthetic CT' * synthetic}"
    body = [*_notes(notes), *(_group(group, margin) for group in groups), *_others(found)]
    body += ["<h2>Made with</h2>", table(rows.version_table(found.finished))]
    definitions = "".join(f"<p>{escape(line)}" for line in DEFINITIONS)
    parts = {"title": escape(title), "use": escape(RESEARCH_USE), "body": "\n".join(body), "definitions": definitions}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], TEMPLATE.read_text())


def table(content: rows.Table) -> str:
    """A table; intervals and remarks in brackets stand small below their figure."""
    header, lines = content
    numeric = [all(_is_number(line[column]) for line in lines) for column in range(len(header))]
    head = "".join(f"<th{' class=n' * n}>{_cell(name)}" for name, n in zip(header, numeric, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' * n}>{_cell(cell)}" for cell, n in zip(line, numeric, strict=True)) + "</tr>"
        for line in lines
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _group(group: Group, margin: float) -> str:
    parts = [
        f"<section><h2>{escape(group.title)}</h2>",
        f"<p>{escape(about(group))}",
        *_notes(group.notes),
        "<h3>Scores</h3>",
        table(rows.score_table(group, tuple(SCORES))),
        _figure(pareto(group), FRONT + NUMBERS * (len(group.variants) > NAMED)),
        "<h3>Cost</h3>",
        table(rows.cost_table(group)),
        f'<p class="note">{escape(TRAINING)}',
    ]
    if group.pairs:
        parts += [
            f"<h3>Differences from {escape(group.baseline.name)}</h3>",
            table(rows.pair_table(group)),
        ]
        parts.append(f'<p class="note">{escape(PAIRS)}')
    for title, found in claims(group, margin):
        kind = ", on synthetic CT" * bool(group.facts["synthetic"])
        parts += [f"<h3>The paper's claims: {escape(title + kind)}</h3>", table(rows.claim_table(found))]
        parts += [f'<p class="note">{escape(f"{claim.claim}: {claim.rule}.")}' for claim in found]
    parts += [
        "<h3>Learning curves</h3>",
        _figure(learning(group), "Line: mean over a variant's runs; band: least and largest of them."),
        "<h3>Patients</h3>",
        f'<p class="note">{SLICES}',
        *(_patients(variant, i < OPEN) for i, variant in enumerate(_shown_first(group))),
    ]
    return "\n".join(parts) + "</section>"


def _shown_first(group: Group) -> list[Variant]:
    """The best variant and the baseline, then the others."""
    whole = whole_variants(group.variants)
    candidates = [variant for variant in group.variants if variant.name in whole] or group.variants
    best = max(candidates, key=lambda variant: variant.scores[rows.DICE]["value"])
    return list({variant.name: variant for variant in (best, group.baseline, *group.variants)}.values())


def _patients(variant: Variant, shown: bool) -> str:
    pictures = "".join(_picture(overlay) for overlay in overlays(variant))
    return f"<details{' open' * shown}><summary>{escape(variant.name)}</summary>{pictures}</details>"


def _picture(overlay: Overlay) -> str:
    caption = escape(overlay.caption)
    if overlay.jpeg is None:
        return f'<p class="note">{caption}: no picture in the run\'s folder.'
    return _figure(f'<img alt="{caption}" src="data:image/jpeg;base64,{overlay.jpeg}">', overlay.caption)


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _notes(notes: Sequence[str]) -> list[str]:
    return [f'<p class="warning">{escape(note)}' for note in notes]


def _others(found: Found) -> list[str]:
    lines = rows.other_runs(found)
    items = "".join(f"<li>{escape(line)}" for line in lines)
    return [f"<h2>Runs that are not in the tables</h2><ul>{items}</ul>"] if lines else []


def _is_number(cell: str) -> bool:
    return cell == rows.DASH or cell.lstrip("+-")[:1].isdigit()


def _cell(text: str) -> str:
    parts = BRACKETS.match(text)
    return f"{escape(parts[1])}<small>{escape(parts[2])}</small>" if parts else escape(text)
