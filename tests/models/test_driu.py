"""DRIU: the counts of the released network, its side outputs, and maps of several slices."""

import pytest
import torch
from helpers.networks import NARROW_OWN, model_config
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch.nn import functional

from lits_seg.models import DRIU
from lits_seg.models.cost import count_parameters

NARROW = {"widths": (4, 4, 8, 8, 8), "side_width": 4}


def test_counts_of_the_released_network() -> None:
    with torch.device("meta"):
        one, three = DRIU(), DRIU(3, 2, 3)
    parts = {name: [count_parameters(getattr(network, name)) for network in (one, three)] for name in PARTS}
    assert parts == PARTS
    assert [count_parameters(network) for network in (one, three)] == [14_917_637, 14_917_903]


PARTS = {"trunk": [14_714_688] * 2, "maps": [202_816] * 2, "sides": [68, 204], "fuse": [65, 195]}


def test_side_outputs_are_returned_in_training_only() -> None:
    network, images = DRIU(3, 2, 3, **NARROW), torch.rand(2, 3, 40, 33)
    outputs = network.train()(images)
    assert [tuple(one.shape) for one in outputs] == [(2, 2, 3, 40, 33)] * 5
    logits = network.eval()(images)
    assert torch.equal(logits, outputs[0][:, :, 1])  # of the middle slice


def test_the_main_logits_are_a_convolution_of_the_enlarged_maps() -> None:
    network, image = DRIU(**NARROW).eval(), torch.rand(1, 1, 32, 48)
    kept: list[torch.Tensor] = []
    for layer in network.maps:
        layer.register_forward_hook(lambda layer, inputs, output: kept.append(output))
    logits = network(image)
    maps = [functional.interpolate(one, (32, 48), mode="bilinear") for one in kept]
    weight = torch.cat([layer.weight for layer in network.fuse], dim=1)
    expected = functional.conv2d(torch.cat(maps, 1), weight, network.fuse[0].bias)
    torch.testing.assert_close(logits[:, 1:], expected)
    assert not logits[:, 0].any()


def test_one_slice_is_the_slice_three_times() -> None:
    one, three = DRIU(**NARROW).eval(), DRIU(3, **NARROW).eval()
    three.load_state_dict(one.state_dict())
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(one(image), three(image.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(("context", "labelled"), [(1, 3), (3, 2)])
def test_labels_of_other_slices_are_refused(context: int, labelled: int) -> None:
    config = model_config(
        "model=driu", *NARROW_OWN["driu"], f"data.context={context}", f"data.label_context={labelled}"
    )
    with pytest.raises(InstantiationException, match=r"data\.label_context: expected an odd number, at most"):
        instantiate(config)
