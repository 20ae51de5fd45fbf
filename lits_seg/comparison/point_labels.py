"""Place labels next to the points of a figure without overlaps.

The library adjustText is no alternative: with error bars, adjustText moves long names far from their points.
"""

from collections.abc import Sequence
from typing import Any

from matplotlib.transforms import Bbox

# Candidate offsets of a label from its marker, in points, best first.
PLACES = [
    (x * r, y * r)
    for r in (7, 14, 22, 32, 44, 58)
    for x, y in ((1, 0.4), (-1, 0.4), (1, -0.9), (-1, -0.9), (0.4, 1.2), (0.4, -1.6))
]
NEAR = PLACES[:6]  # farther labels have a line to their points
MARKER = 5  # half a marker's side, in points


def place_labels(axes: Any, points: Sequence[tuple[float, float, float, float]], texts: Sequence[str]) -> None:
    """Write a label next to each point of a figure whose layout is final.

    A label avoids markers, error bars and earlier labels if a free place exists. A line joins a far label to its point.

    Args:
        axes: the axes that the points are drawn in.
        points: ``(x, y, low, high)`` of each point; ``low`` and ``high`` are the ends of the error bar.
        texts: a label for each point.
    """
    scale = axes.figure.dpi / 72
    taken = [box for point in points for box in _taken(axes, point, scale)]
    view = axes.get_window_extent()
    for (x, y, *_), text in zip(points, texts, strict=True):
        best = None
        for dx, dy in PLACES:
            label = axes.annotate(
                text, (x, y), (dx, dy), textcoords="offset points", fontsize=8, va="center",
                ha="left" if dx > 0 else "right",
            )  # fmt: skip
            label.set_in_layout(False)
            box = label.get_window_extent()
            outside = box.x0 < view.x0 or box.x1 > view.x1 or box.y0 < view.y0 or box.y1 > view.y1
            cost = sum(_overlap(box, other) for other in taken) + 1e3 * outside
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, label, box, (dx, dy)
            else:
                label.remove()
            if cost == 0:
                break
        if best is not None:
            _, _, box, place = best
            taken.append(box)
            if place not in NEAR:
                line = {"arrowstyle": "-", "lw": 0.5, "color": "0.5", "shrinkA": 0, "shrinkB": 3}
                axes.annotate("", (x, y), place, textcoords="offset points", arrowprops=line).set_in_layout(False)


def _taken(axes: Any, point: tuple[float, float, float, float], scale: float) -> list[Bbox]:
    """Return the boxes that a point's marker and error bar cover, in pixels."""
    x, y, low, high = point
    middle, bottom, top = axes.transData.transform([(x, y), (x, low), (x, high)])
    side = MARKER * scale
    return [
        Bbox([middle - side, middle + side]),
        Bbox([[bottom[0] - 1, bottom[1]], [top[0] + 1, top[1]]]),
    ]


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0.0) * max(height, 0.0)
