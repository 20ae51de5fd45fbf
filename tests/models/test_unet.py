"""The networks that take any decoder: the upsampling of each level, bad settings."""

import pytest
import torch
from helpers.networks import DECODERS, NARROW, WITH_DECODERS, model_config
from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lits_seg.common.errors import InputError
from lits_seg.models.cost import count_parameters
from lits_seg.models.upsample import UPSAMPLERS


@pytest.mark.parametrize("model", WITH_DECODERS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_pair_builds_at_full_width(model: str, decoder: str) -> None:
    with torch.device("meta"):
        network = instantiate(model_config(f"model={model}", f"decoder={decoder}"))
    assert count_parameters(network) > 1_000_000


@pytest.mark.parametrize("levels", ["bilinear,nearest,deconv,subpixel", "maxunpool,espcn,bicubic,subpixel"])
def test_any_mix_of_decoders_by_level(levels: str) -> None:
    network = instantiate(model_config(f"decoder.levels=[{levels}]", *NARROW))
    assert [type(level) for level in network.upsamplers] == [UPSAMPLERS[name] for name in levels.split(",")]
    assert network(torch.rand(2, 1, 37, 53)).shape == (2, 2, 37, 53)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("decoder.levels=[bilinear,bilinear,bilinear,cubic]", ", ".join(UPSAMPLERS)),
        ("decoder.levels=[bilinear,bilinear]", "expected 4 names"),
        ("decoder.levels=bilinear", "found bilinear"),
        ("model.shortcut=none", "conv or pad"),
        ("model.innermost=none", "conv or block"),
        ("model.decoder_widths=[8,8]", "expected 4 channel numbers"),
        ("model.innermost_width=30", "30"),
    ],
)
def test_bad_settings_are_named(override: str, told: str) -> None:
    overrides = [*NARROW, "decoder=subpixel_all"] if "innermost_width" in override else [*NARROW]
    with pytest.raises(InstantiationException) as error:
        instantiate(model_config(*overrides, override))
    assert isinstance(error.value.__cause__, InputError)
    assert told in str(error.value.__cause__)
