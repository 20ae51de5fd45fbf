"""A whole CT is predicted in every way, and each way has its row."""

import pytest

from experiments.inference_speed.whole_ct import EXPORTED, ct_costs, ct_section


@pytest.mark.slow
def test_a_ct_is_predicted_in_every_way() -> None:
    costs = ct_costs(slices=4, size=64, threads=[1], rounds=1)
    assert len(costs) == 1 + len(EXPORTED) + 1
    assert all(cost.seconds > 0.1 and cost.peak_bytes > 1e7 for cost in costs)
    text = ct_section(4, costs, None)
    assert text.startswith("## A CT of 512 x 512 x 4")
    assert text.count("`dsc_unet`, ") == 1 + len(EXPORTED)
    assert "| `unet`, PyTorch " in text
