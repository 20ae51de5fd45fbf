"""A whole CT is predicted in every way, and each way has its row."""

from pathlib import Path

import pytest
from helpers.experiments import run_experiment

from experiments.inference_speed.measure import thread_counts
from experiments.inference_speed.whole_ct import EXPORTED


@pytest.mark.slow
def test_a_ct_is_predicted_in_every_way(tmp_path: Path) -> None:
    shown = run_experiment("inference_speed.whole_ct", "slices=4", "size=64", "rounds=1", "output=out", cwd=tmp_path)
    assert (tmp_path / "out/whole_ct.md").read_text() in shown
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| `")]
    counts = len(thread_counts())
    ways = [name.partition(",")[0] for name, *_ in rows]
    assert [ways.count(f"`{name}`") for name in ("packaged", "dsc_unet", "unet")] == [
        counts + 2,
        counts * (1 + len(EXPORTED)),
        1,
    ]
    assert all(float(seconds) > 0.05 and float(memory) > 0.01 for _, _, seconds, _, memory in rows)
    assert next(row for row in rows if "`unet`" in row[0])[3] == "1.0 x"


@pytest.mark.slow
def test_one_network_needs_no_unet(tmp_path: Path) -> None:
    arguments = ("slices=4", "networks=[packaged]", "rounds=1", "output=out")
    shown = run_experiment("inference_speed.whole_ct", *arguments, cwd=tmp_path)
    assert "by one command, each" in shown
    assert "unet`, " not in shown
