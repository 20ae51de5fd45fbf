from dataclasses import replace

from lits_seg.exporters import comparison_table
from lits_seg.exporters.parity import Parity


def test_what_is_worth_it() -> None:
    def row(precision: str, ms: float, dice: float) -> comparison_table.Row:
        return comparison_table.Row("onnx", precision, f"{precision}.onnx", 1, Parity(1, 0, 1), ms, [dice, 0.5])

    fp32 = row("fp32", 20, 0.6)
    for found, expected in (
        (row("int8", 10, 0.6), "yes"),
        (row("int8", 10, 0.58), "not worth it: loses 0.010 Dice"),
        (row("fp16", 20, 0.6), "not worth it: no faster than fp32"),
        (fp32, "yes"),
        (replace(fp32, dice=()), "Dice not measured"),
    ):
        assert comparison_table.verdict(found, fp32, fp32) == expected
