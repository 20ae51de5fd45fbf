"""Markdown tables that also line up as plain text."""

from lits_seg.common.tables import markdown


def test_markdown_lines_up() -> None:
    assert markdown(["a", "long"], [["xy", "1"]]).splitlines() == ["| a   | long |", "| --- | ---- |", "| xy  | 1    |"]


def test_figures_align_to_the_right() -> None:
    lines = markdown(["a", "long"], [["xy", "1"]], right=True).splitlines()
    assert lines == ["| a   | long |", "| --- | ---: |", "| xy  |    1 |"]
