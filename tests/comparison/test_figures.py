"""The figures of a report: which variants are on the front, what a learning curve shows, where labels are."""

import re
from itertools import combinations

import numpy as np
import pytest
from helpers.run_folders import HEAVY, LIGHT, case, one_group, run
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from lits_seg.comparison.figures import Point, mean_and_range, on_front, pareto, whole_variants
from lits_seg.comparison.point_labels import place_labels
from lits_seg.comparison.style import COLOURS, Style, short

PAIR = one_group([run("a", [case("1", 4), case("2")], LIGHT), run("b", [case("1", 8), case("2")], HEAVY)])


def points(*places: tuple[float, float]) -> list[Point]:
    return [Point(PAIR.variants[0], cost, dice, dice, dice, "") for cost, dice in places]


@pytest.mark.parametrize(
    ("places", "front"),
    [
        ([(3, 0.9), (1, 0.5), (2, 0.7)], [(1, 0.5), (2, 0.7), (3, 0.9)]),
        ([(1, 0.5), (2, 0.4), (3, 0.9)], [(1, 0.5), (3, 0.9)]),  # costs more for less
        ([(1, 0.5), (1, 0.6), (2, 0.6)], [(1, 0.6)]),  # one as cheap, one as good
        ([(1, 0.5), (1, 0.5)], [(1, 0.5), (1, 0.5)]),  # equals do not exclude each other
    ],
)
def test_the_front_holds_what_nothing_beats(places: list, front: list) -> None:
    assert [(point.cost, point.dice) for point in on_front(points(*places))] == front


def test_variants_without_all_patients_are_not_on_the_front() -> None:
    assert whole_variants(PAIR.variants) == {LIGHT, HEAVY}
    partly = one_group([run("a", [case("1")], LIGHT), run("b", [case("1"), case("2")], HEAVY)])
    assert whole_variants(partly.variants) == {HEAVY}


def test_costs_that_no_run_has_have_no_panel() -> None:
    drawn = pareto(PAIR)
    assert drawn.startswith("<svg")
    assert drawn.endswith("</svg>\n")
    assert "CPU latency" in drawn
    assert "GPU latency" not in drawn
    assert not re.search(r"(?:href|src)=\"(?!#)", drawn)


def test_learning_curves_are_averaged_where_all_runs_have_values() -> None:
    steps, mean, low, high = mean_and_range([{0: 0.0, 10: 1.0, 20: 1.0}, {5: 0.1, 10: 0.5, 15: 0.9}])
    assert steps.tolist() == [5, 10, 15]
    np.testing.assert_allclose(mean, [0.3, 0.75, 0.95])  # 0.5 and 1 are between the points of the first
    np.testing.assert_allclose(low, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(high, [0.5, 1.0, 1.0])


def test_labels_cover_neither_each_other_nor_markers_and_far_ones_have_lines() -> None:
    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    places = [(5, 5, 4, 6), (5.1, 5.2, 4, 6), (9.9, 5, 4.5, 5.5), (5, 5.4, 5, 6), (5.05, 5.05, 4, 6), (5, 5.1, 4, 6)]
    figure.draw_without_rendering()
    place_labels(axes, places, ["a long name"] * len(places))
    notes = [child for child in axes.get_children() if isinstance(child, Annotation)]
    labels, lines = ([note for note in notes if bool(note.get_text()) == named] for named in (True, False))
    boxes = [label.get_window_extent() for label in labels]
    assert len(boxes) == len(places)
    far = {label.xy for label in labels if max(map(abs, label.get_position())) > 12}
    assert far
    assert {line.xy for line in lines if line.arrow_patch is not None} == far
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    view = axes.get_window_extent()
    for box in boxes:
        assert not any(box.contains(*axes.transData.transform(place[:2])) for place in places)
        assert view.x0 <= box.x0 <= box.x1 <= view.x1


def test_a_decoder_has_one_colour_and_a_model_one_marker() -> None:
    networks = [f"{model}, {decoder}" for model in ("dsc_unet", "unet") for decoder in ("bilinear", "deconv")]
    style = Style.of(one_group([run(name, [case("1")], name) for name in networks]).variants)
    assert list(style.markers) == ["dsc_unet", "unet"]
    assert style.colours == {"bilinear": COLOURS[0], "deconv": COLOURS[1]}
    assert len(set(style.markers.values())) == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(31e6, "31 M"), (2_250_000, "2.25 M"), (20_000, "20 k"), (12.5, "12.5"), (1000, "1 k")]
)
def test_large_numbers_are_short(value: float, shown: str) -> None:
    assert short(value) == shown
