"""Style the report's figures, as SVG with the font and text colour of the page."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lits_seg.comparison.pool import Variant

# Okabe and Ito's colours for colour-blind readers, without yellow, which is too light on paper, and with two more.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d46", "#7f7f7f")
MARKERS = "osD^vPX*<>"
LINES = ("-", "--", ":", "-.")
# Matplotlib cannot write "the text colour of the page". Text is therefore drawn in a colour that nothing else has, and
# svg() replaces that colour. Black is impossible, because matplotlib leaves black out of the file.
TEXT = "#010203"
LONGEST = 60  # characters of a name in a figure
ZOOM = 1.4  # 9 points of a figure are 13 pixels of the page


@dataclass(frozen=True)
class Style:
    """A marker for each model, a colour and a line for each decoder with its settings."""

    markers: dict[str, str]
    colours: dict[str, str]
    lines: dict[str, str]

    @classmethod
    def of(cls, variants: Sequence[Variant]) -> "Style":
        """Return a style in which all figures of these variants draw the same network alike."""
        models, decoders = (sorted({getattr(one, name) for one in variants}) for name in ("model", "upsampling"))
        return cls(
            {model: MARKERS[i % len(MARKERS)] for i, model in enumerate(models)},
            {decoder: COLOURS[i % len(COLOURS)] for i, decoder in enumerate(decoders)},
            {decoder: LINES[i // len(COLOURS) % len(LINES)] for i, decoder in enumerate(decoders)},
        )


def look() -> Any:
    """Return matplotlib's settings as a context manager, in which figures are drawn and saved."""
    return mpl.rc_context(
        {
            **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), TEXT),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.6,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": TEXT,
            "grid.alpha": 0.12,
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "font.size": 9,
            "text.parse_math": False,  # a name with $ is no formula
            "svg.fonttype": "none",  # keeps text as text
            "svg.hashsalt": "lits_seg",  # makes files of the same figure equal
        }
    )


def svg(figure: Figure, title: str) -> str:
    """Return a figure as an ``<svg>`` element for a page.

    Args:
        figure: a figure drawn with ``look``.
        title: label of the element for screen readers.
    """
    stream = io.StringIO()
    with look():
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue().replace(TEXT, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', text)
    content = text[text.index(">", text.index("<svg")) + 1 :]
    width = figure.get_figwidth() * 72 * ZOOM
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg {names} role="img" aria-label="{title}" {view and view[0]} style="max-width: {width:.0f}px">'
    return head + content


def brief(name: str) -> str:
    """Return a name for a figure, which has no space for a long one."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def short(value: float) -> str:
    """Return a number for an axis, such as ``20 k`` or ``31 M``."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
