"""The light strided networks, besides test_networks.py: exact counts, any context, bad settings."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import nn

from lits_seg.cli import CONF
from lits_seg.models.cost import count_macs, count_parameters


def build(*overrides: str) -> nn.Module:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("train", ["model.out_channels=3", *overrides]).model)


@pytest.mark.parametrize(
    ("model", "context", "parameters", "gmac"),
    [
        ("strided_unet", 1, 1_408_284, 0.673),
        ("strided_unet", 3, 1_408_572, 0.678),
        ("strided_resunet", 1, 1_947_876, 1.452),
        ("strided_resunet", 5, 1_948_740, 1.467),
        ("strided_unet_512", 1, 1_413_708, 0.229),
        ("strided_unet_512", 3, 1_414_572, 0.243),
    ],
)
def test_counts(model: str, context: int, parameters: int, gmac: float) -> None:
    network = build(f"model={model}", f"data.context={context}")
    assert count_parameters(network) == parameters
    assert count_macs(network, context) / 1e9 == pytest.approx(gmac, abs=0.001)


@pytest.mark.parametrize("context", [1, 3, 5])
def test_images_have_the_contexts_channels(context: int) -> None:
    network = build("model=strided_unet", f"data.context={context}").eval()
    assert network(torch.rand(1, context, 37, 53)).shape == (1, 3, 37, 53)


@pytest.mark.parametrize(
    ("override", "expected"),
    [("model.blocks=[1,1]", "5 block numbers"), ("model.decoder_widths=[8,8]", "4 channel numbers")],
)
def test_bad_settings_are_named(override: str, expected: str) -> None:
    with pytest.raises(InstantiationException, match=expected):
        build("model=strided_unet", override)
