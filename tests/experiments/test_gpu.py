"""The table of a GPU's times: every network has both precisions, and a machine without a GPU one clear error."""

from pathlib import Path

import pytest
import torch
from helpers.experiments import failed_experiment

from experiments.inference_speed.gpu import gpu_text, gpu_times


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_no_gpu_is_one_clear_error(tmp_path: Path) -> None:
    shown = failed_experiment("inference_speed.gpu", "output=out", cwd=tmp_path)
    assert shown == "error: inference_speed.gpu: expected a GPU that PyTorch can use; found none"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # a benchmark
def test_every_network_is_timed_in_both_precisions() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = ["dsc_unet/subpixel", "strided_unet/context5"]
    timings, notes = gpu_times(32, 2, names, 1, device)
    assert not notes
    assert [(one.network, one.precision) for one in timings] == [(n, p) for n in names for p in ("float32", "bf16")]
    assert all(one.slice_ms > 0 and one.batch_ms is not None and one.batch_ms > 0 for one in timings)
    text = gpu_text(timings, notes, 32, 2, 1)
    assert all(text.count(f"| `{name}`") == 1 for name in names)
    assert "2,246,365" in text
