"""The benchmark of the data, on volumes of a few slices."""

from pathlib import Path

import pytest
from helpers.experiments import run_experiment


@pytest.mark.slow  # a benchmark
def test_every_step_is_measured(tmp_path: Path) -> None:
    run_experiment("data_speed.__main__", "size=32", "slices=4", "batches=4", "output=out", cwd=tmp_path)
    text = (tmp_path / "out" / "data.md").read_text()
    for step in ("preparing a case, alone", "training, bf16-mixed", "augmented one by one (MONAI), two workers"):
        assert step in text
