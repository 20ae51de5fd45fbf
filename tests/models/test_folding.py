"""Networks for inference: the same function as the trained network, with fewer operations."""

import pytest
import torch
from helpers.networks import DECODERS, EVERY, NARROW, model_config
from hydra.utils import instantiate
from torch import nn

from lits_seg.models import for_inference
from lits_seg.models.cost import count_macs, count_parameters
from lits_seg.models.split_block import SplitResidualBlock

# Also what no config has alone: residual blocks in each strided network, shortcuts without parameters, kernels of 2.
MORE = [
    ("model=strided_unet", "model.residual=true"),
    ("model=strided_unet_512", "model.residual=true"),
    *(("model=dsc_unet", f"decoder={decoder}", "model.shortcut=pad", *NARROW) for decoder in DECODERS),
]
LARGEST = 1e-5  # difference of logits, relative to the largest logit: rounding


def trained(*overrides: str) -> nn.Module:
    """A network whose norms have scales of either sign, and statistics, as training may leave them."""
    torch.manual_seed(0)
    network = instantiate(model_config(*overrides))
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
                tensor.normal_()
            norm.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize(
    "overrides", [*EVERY, *MORE], ids=lambda parts: "-".join(p.partition("=")[2] for p in parts[:3])
)
@torch.no_grad()
def test_a_network_for_inference_is_the_same_function(overrides: tuple[str, ...]) -> None:
    network, images = trained(*overrides), torch.rand(2, 1, 40, 56)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copies = [for_inference(network), for_inference(network, int8=True)]
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    logits, macs = network.eval()(images), count_macs(network, size=64)
    for folded in copies:
        assert not folded.training
        assert (folded(images) - logits).abs().max() <= LARGEST * logits.abs().max()
        assert count_macs(folded, size=64) <= macs


@pytest.mark.parametrize(
    "overrides", [("model=strided_unet",), ("model=strided_resunet",), ("model=strided_unet_512",)]
)
def test_strided_networks_keep_convolutions_alone(overrides: tuple[str, ...]) -> None:
    network = trained(*overrides)
    folded, whole = for_inference(network), for_inference(network, int8=True)
    for module in (*folded.modules(), *whole.modules()):
        assert not isinstance(module, nn.BatchNorm2d)
        assert not getattr(module, "skip", False)
    assert count_parameters(whole) < count_parameters(network)
    assert count_macs(folded) < 0.95 * count_macs(whole)  # pixels of a deeper map meet each kernel once


def test_batch_norms_of_the_unet_are_folded() -> None:
    folded = for_inference(trained("model=unet_bn", *NARROW))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())


@pytest.mark.parametrize(("int8", "shortcut", "split"), [(False, "conv", 4), (False, "pad", 0), (True, "conv", 0)])
def test_the_papers_decoder_concatenates_only_for_8_bits(int8: bool, shortcut: str, split: int) -> None:
    folded = for_inference(trained("model=dsc_unet", f"model.shortcut={shortcut}", *NARROW), int8)
    assert sum(isinstance(level, SplitResidualBlock) for level in folded.decoder) == split


def test_other_networks_are_copied() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    copy = for_inference(network)
    assert not copy.training
    assert [type(layer) for layer in copy] == [nn.Conv2d, nn.BatchNorm2d]
    assert copy[0].weight is not network[0].weight
