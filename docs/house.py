"""Draw the rooms of ``lits_seg`` by floor, with arrows for imports: ``python docs/house.py`` writes house.svg.

The floors are those of the import contract in ``pyproject.toml``. The arrows are read from the code. An import upward,
which breaks the contract, is red.
"""

import textwrap
import tomllib
from html import escape
from pathlib import Path

import grimp

HERE = Path(__file__).parent
NAMES = ("commands", "deployment", "uses of a trained network", "training and its tools", "data and networks", "ground")
EVERYWHERE = {"common", "cli"}  # every room uses common, every command uses cli: no arrows
WIDTH, LEFT, GAP, PAD = 860, 6, 18, 8  # pixels, as all lengths here
BETWEEN, LINE = 62, 15
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 } .room { font-weight: 600; font-size: 14px; fill: #111 }
.floor { fill: #777; font-style: italic; paint-order: stroke; stroke: #fff; stroke-width: 4px }
rect { fill: #fff; stroke: #88a; rx: 6 }
path { fill: none; stroke: #8794b8; stroke-width: 1.3 } .up { stroke: #c33; stroke-width: 2 }
"""
Box = tuple[float, float, float, float]  # x, y, width, height


def floors() -> list[list[str]]:
    """Return the rooms of each floor, commands first, from the import contract (optional rooms left out)."""
    contracts = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    rows = [[room.strip() for room in layer.split(":") if "(" not in room] for layer in layers]
    return [row for row in rows if row]


def imports(graph: grimp.ImportGraph) -> dict[str, set[str]]:
    """Return the rooms that each room imports, directly."""
    rooms = graph.find_children("lits_seg")
    uses = {room.rpartition(".")[2]: set[str]() for room in rooms}
    for name in graph.modules:
        for target in graph.find_modules_directly_imported_by(name):
            pair = [module.split(".")[1] if "." in module else "" for module in (name, target)]
            if pair[0] in uses and pair[1] in uses and pair[0] != pair[1]:
                uses[pair[0]].add(pair[1])
    return uses


def shortened(uses: dict[str, set[str]], floor: dict[str, int]) -> list[tuple[str, str]]:
    """Return the pairs of rooms to draw: imports that no longer path implies, and all imports upward.

    Args:
        uses: the rooms that each room imports.
        floor: the number of each room's floor, 0 at the top.
    """
    proper = {room: {other for other in uses[room] if floor[other] >= floor[room]} for room in floor}

    def reachable(room: str) -> set[str]:
        return proper[room].union(*map(reachable, proper[room]))

    arrows = []
    for room, others in proper.items():
        implied = set().union(*map(reachable, others))
        arrows += [(room, other) for other in others - implied - EVERYWHERE]
        arrows += [(room, other) for other in uses[room] - others]
    return sorted(arrows)


def lines_of(room: str, graph: grimp.ImportGraph, width: float) -> list[str]:
    """Return the names of a room's modules, wrapped to its box."""
    names = sorted(module.rpartition(".")[2] for module in graph.find_children(f"lits_seg.{room}"))
    return textwrap.wrap("\u00a0· ".join(names), int((width - 2 * PAD) / 6.6), break_on_hyphens=False)


def place(rows: list[list[str]], graph: grimp.ImportGraph) -> tuple[dict[str, Box], dict[str, list[str]], float]:
    """Return each room's box, the text in it, and the height of the drawing."""
    boxes, texts, y = {}, {}, 40.0
    for row in rows:
        width = (WIDTH - GAP * (len(row) - 1)) / len(row)
        if len(row) == 1:  # on the right, below its command
            width = WIDTH * 0.3
        start = LEFT + WIDTH - width * len(row) - GAP * (len(row) - 1)
        for i, room in enumerate(row):
            texts[room] = lines_of(room, graph, width)
            boxes[room] = (start + i * (width + GAP), y, width, 0.0)
        height = 2 * PAD + LINE * (1 + max(len(texts[room]) for room in row)) + 2
        boxes |= {room: (*boxes[room][:3], height) for room in row}
        y += height + BETWEEN
    return boxes, texts, y - BETWEEN + 40


def arrow(start: Box, end: Box, shares: tuple[float, float], between: list[list[Box]]) -> str:
    """Return the path of an arrow from one box to another.

    Args:
        start: the importing room.
        end: the imported room.
        shares: place on the start's and the end's edge, from left (0) to right (1).
        between: the boxes of each floor that the arrow crosses, from top to bottom.
    """
    if start[1] == end[1]:  # on one floor: along the side
        side = start[0] + start[2] if start[0] < end[0] else start[0]
        y, far = start[1] + start[3] / 2, end[0] if start[0] < end[0] else end[0] + end[2]
        return f'<path d="M {side:.0f} {y:.0f} L {far:.0f} {y:.0f}" marker-end="url(#tip)"/>'
    x, goal = (box[0] + box[2] * share for box, share in zip((start, end), shares, strict=True))
    down = start[1] < end[1]
    y, stop = (start[1] + start[3], end[1]) if down else (start[1], end[1] + end[3])
    path = f"M {x:.0f} {y:.0f}"
    for row in between:
        top, bottom = row[0][1], row[0][1] + row[0][3]
        aside = clear(x + (goal - x) * (top - y) / (stop - y), row)
        path += curve(x, y, aside, top) + f" L {aside:.0f} {bottom:.0f}"
        x, y = aside, bottom
    return f'<path class="{"down" if down else "up"}" d="{path}{curve(x, y, goal, stop)}" marker-end="url(#tip)"/>'


def curve(x: float, y: float, goal: float, stop: float) -> str:
    """Return a curve from (x, y) to (goal, stop), vertical at both ends."""
    middle = (y + stop) / 2
    return f" C {x:.0f} {middle:.0f} {goal:.0f} {middle:.0f} {goal:.0f} {stop:.0f}"


def clear(x: float, row: list[Box]) -> float:
    """Return ``x``, moved sideways if a box of the row is in the way."""
    for left, _, width, _ in row:
        if left - GAP / 2 < x < left + width + GAP / 2:
            return left - GAP / 2 if x < left + width / 2 else left + width + GAP / 2
    return x


def draw() -> str:
    """Return the drawing as SVG."""
    graph = grimp.build_graph("lits_seg", cache_dir=None)
    rows = floors()
    boxes, texts, height = place(rows, graph)
    floor = {room: i for i, row in enumerate(rows) for room in row}
    arrows = shortened(imports(graph), floor)

    def share(room: str, other: str, end: int) -> float:
        others = sorted((pair[1 - end] for pair in arrows if pair[end] == room), key=lambda name: boxes[name][0])
        return (others.index(other) + 1) / (len(others) + 1)

    parts = []
    for a, b in arrows:
        between = [[boxes[room] for room in row] for row in rows[floor[a] + 1 : floor[b]]]
        parts.append(arrow(boxes[a], boxes[b], (share(a, b, 0), share(b, a, 1)), between))
    for row, name in zip(rows, NAMES, strict=True):  # after the arrows, which a name covers
        parts.append(f'<text class="floor" x="{LEFT}" y="{boxes[row[0]][1] - 8:.0f}">{name}</text>')
    for room, (x, y, width, tall) in boxes.items():
        parts.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{tall:.0f}"/>')
        for i, text in enumerate((room, *texts[room])):
            kind = "" if i else ' class="room"'
            parts.append(f'<text{kind} x="{x + PAD:.0f}" y="{y + PAD + LINE * (i + 0.8):.0f}">{escape(text)}</text>')
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    tip += '<path d="M 0 1 L 7 4 L 0 7"/></marker>'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} {height:.0f}">',
            f"<style>{STYLE}</style><defs>{tip}</defs>",
            f'<rect x="0" y="0" width="{WIDTH + 2 * LEFT}" height="{height:.0f}" style="stroke: none; rx: 0"/>',
            *parts,
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    (HERE / "house.svg").write_text(draw())
