"""Markdown tables that also line up as plain text."""

from lits_seg.common.tables import markdown, text_table


def test_markdown_lines_up() -> None:
    assert markdown(["a", "long"], [["xy", "1"]]).splitlines() == ["| a   | long |", "| --- | ---- |", "| xy  | 1    |"]


def test_figures_align_to_the_right() -> None:
    lines = markdown(["a", "long"], [["xy", "1"]], right=True).splitlines()
    assert lines == ["| a   | long |", "| --- | ---: |", "| xy  |    1 |"]


def test_text_columns_are_aligned_to_the_right() -> None:
    assert text_table([("case", "mL"), ("1", "1500")]) == "case    mL\n   1  1500"
