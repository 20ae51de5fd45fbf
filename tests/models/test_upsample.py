import pytest
import torch
from torch.nn import functional

from lits_seg.models.upsample import UPSAMPLERS


def upsample(name: str, features: torch.Tensor, skip_channels: int) -> tuple[torch.nn.Module, torch.Tensor]:
    upsampler = UPSAMPLERS[name](features.shape[1], skip_channels)
    full = torch.rand(len(features), skip_channels, 2 * features.shape[2], 2 * features.shape[3])
    _, indices = functional.max_pool2d(full, 2, return_indices=True)
    return upsampler, upsampler(features, indices)


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_doubles_the_size_and_tells_the_depth(name: str) -> None:
    upsampler, out = upsample(name, torch.rand(2, 16, 5, 7), 12)
    assert out.shape == (2, upsampler.out_channels, 10, 14)


@pytest.mark.parametrize("name", ["bilinear", "nearest", "bicubic", "subpixel"])
def test_has_no_parameters(name: str) -> None:
    upsampler, _ = upsample(name, torch.rand(1, 16, 4, 4), 16)
    assert not list(upsampler.parameters())


def test_depths() -> None:
    depths = {name: upsample(name, torch.rand(1, 16, 4, 4), 12)[0].out_channels for name in UPSAMPLERS}
    assert depths == {
        "bilinear": 16,
        "nearest": 16,
        "bicubic": 16,
        "subpixel": 4,
        "deconv": 8,
        "espcn": 8,
        "maxunpool": 12,
    }


def test_subpixel_rearranges_and_computes_nothing() -> None:
    features = torch.rand(2, 8, 3, 4)
    _, out = upsample("subpixel", features, 8)
    for channel in range(2):
        for row in range(2):
            for column in range(2):
                expected = features[:, 4 * channel + 2 * row + column]
                assert torch.equal(out[:, channel, row::2, column::2], expected)


def test_nearest_repeats_every_value() -> None:
    features = torch.rand(2, 8, 3, 4)
    _, out = upsample("nearest", features, 8)
    assert torch.equal(out, features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


def test_espcn_starts_as_nearest_upsampling() -> None:
    _, out = upsample("espcn", torch.rand(1, 8, 5, 5), 8)
    blocks = out.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)
    assert torch.allclose(blocks.amin(-1), blocks.amax(-1), atol=1e-6)


def test_maxunpool_puts_values_where_they_came_from() -> None:
    full = torch.rand(1, 6, 8, 8) + 0.1
    pooled, indices = functional.max_pool2d(full, 2, return_indices=True)
    out = UPSAMPLERS["maxunpool"](6, 6)(pooled, indices)
    assert torch.equal(out[out != 0], full[out != 0])
    assert torch.equal(functional.max_pool2d(out, 2), pooled)
    assert int((out != 0).sum()) == pooled.numel()


def test_bilinear_gradient_after_concatenation() -> None:
    features, skip = torch.rand(2, 8, 3, 4, requires_grad=True), torch.rand(2, 4, 6, 8)
    plain = functional.interpolate(features, scale_factor=2, mode="bilinear")
    gradients = []
    for upsampled in (upsample("bilinear", features, 4)[1], plain):
        loss = torch.cat([skip, upsampled], dim=1).sin().sum()
        gradients.append(torch.autograd.grad(loss, features)[0])
    torch.testing.assert_close(*gradients)
