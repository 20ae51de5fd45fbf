"""Where a slice's time goes: the parts are all there, and add up."""

from pathlib import Path

import pytest
from helpers.experiments import run_experiment


@pytest.mark.slow
def test_the_parts_add_up(tmp_path: Path) -> None:
    shown = run_experiment("inference_speed.layers", "size=64", "output=out", cwd=tmp_path)
    assert (tmp_path / "out/layers.md").read_text() in shown
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if line[:1] == "|"]
    parts = {name.split(",")[0]: cells for name, *cells in rows}
    named = ("1x1 convolutions", "depthwise convolutions", "batch norms", "upsampling", "max-pooling", "the rest")
    assert sum(float(parts[name][0]) for name in named) == pytest.approx(float(parts["all"][0]), abs=0.05 * len(named))
    assert all(float(parts["1x1 convolutions"][column]) > 0 for column in (0, -1))
    around = [[float(cell) for cell in cells] for name, *cells in rows if name.startswith(("window", "enlarging"))]
    assert len(around) == 5
    assert all(value > 0 for values in around for value in values)
