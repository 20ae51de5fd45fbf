"""The same tests for every network of the package, with every decoder."""

from pathlib import Path

import pytest
import torch
from helpers.networks import DECODERS, EVERY, NARROW_OWN, OWN, WITH_DECODERS, model_config
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn


def _name(overrides: tuple[str, ...]) -> str:
    return "-".join(part.partition("=")[2] for part in overrides if not part.startswith("model."))


# The networks of other papers share their blocks: in an ordinary run, two stand for them.
PUBLISHED = {f"model={model}" for model in NARROW_OWN} - {"model=vorontsov", "model=segnet"}


@pytest.fixture(
    params=[pytest.param(each, marks=[pytest.mark.slow] * (each[0] in PUBLISHED)) for each in EVERY], ids=_name
)
def config(request: pytest.FixtureRequest) -> DictConfig:
    return model_config(*request.param)


@pytest.fixture
def network(config: DictConfig) -> nn.Module:
    torch.manual_seed(0)
    return instantiate(config)


def test_every_network_is_here() -> None:
    assert len(WITH_DECODERS) * len(DECODERS) >= 4 * 8
    assert {"strided_unet", "strided_resunet", "strided_unet_512", *NARROW_OWN} == set(OWN) - set(WITH_DECODERS)
    assert len(EVERY) == len(WITH_DECODERS) * len(DECODERS) + 3 + 10


@pytest.mark.parametrize("size", [(64, 64), (37, 53), (17, 16), (1, 1)])
def test_logits_have_the_images_size(network: nn.Module, config: DictConfig, size: tuple[int, int]) -> None:
    logits = network.eval()(torch.rand(2, 1, *size))
    assert logits.shape == (2, config.out_channels, *size)
    assert torch.isfinite(logits).all()


def test_padding_does_not_reach_far(network: nn.Module) -> None:
    image = torch.rand(1, 1, 40, 48)
    padded = nn.functional.pad(image, (0, 0, 0, 8), mode="replicate")
    assert torch.allclose(network.eval()(image), network(padded)[..., :40, :], atol=1e-5)


def test_gradients_reach_every_parameter(network: nn.Module) -> None:
    # Of 64 x 64 pixels, 1 x 1 to 2 x 2 reach the innermost level of the strided networks.
    outputs = network(torch.rand(2, 1, 64, 64))
    for logits in outputs if isinstance(outputs, tuple) else (outputs,):  # side outputs
        logits.square().sum().backward(retain_graph=True)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_evaluation_is_deterministic(network: nn.Module) -> None:
    image = torch.rand(1, 1, 48, 48)
    network(image.repeat(2, 1, 1, 1))  # moves the norms' statistics
    network.eval()
    assert torch.equal(network(image), network(image))


def test_state_survives_saving(network: nn.Module, tmp_path: Path) -> None:
    image = torch.rand(2, 1, 48, 48)
    network(image)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    expected = network.eval()(image)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert not torch.allclose(network(image), expected)
    network.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(network(image), expected)


def test_export(network: nn.Module) -> None:
    image = torch.rand(1, 1, 40, 56)
    exported = torch.export.export(network.eval(), (image,)).module()
    # An exported graph runs in PyTorch's own memory order: sums are in another one.
    torch.testing.assert_close(exported(image), network(image), atol=1e-4, rtol=1e-4)


def test_all_convolutions_run_channels_last(network: nn.Module) -> None:
    orders = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, images, output: orders.append(output.stride(1)))
    network.to(memory_format=torch.channels_last)(torch.rand(2, 1, 48, 48))
    assert set(orders) == {1}
