"""A residual block of the decoder that takes its two maps without concatenating them, for inference."""

from copy import deepcopy

from torch import Tensor, nn

from lits_seg.models.blocks import DepthwiseSeparableConv2d, SeparableResidualBlock


class SplitResidualBlock(nn.Module):
    """A trained ``SeparableResidualBlock`` that takes two maps without concatenating them; for inference only.

    The function is the same. Batch norm and depthwise convolution treat each channel separately. A 1x1 convolution of
    concatenated maps is the sum of a 1x1 convolution of each map. The block saves the copy of both maps. An engine
    that fuses convolution and sum writes no additional intermediate result.

    Args:
        block: the trained block, with a ``conv`` shortcut.
        channels: channels of the first map.
    """

    def __init__(self, block: SeparableResidualBlock, channels: int) -> None:
        super().__init__()
        parts = slice(channels), slice(channels, None)
        first, *rest = deepcopy(block.convolutions)
        assert isinstance(first, DepthwiseSeparableConv2d)
        self.norms = nn.ModuleList(_inputs_of(block.norm, part) for part in parts)
        self.convolutions = nn.ModuleList(
            nn.Sequential(*(_inputs_of(convolution, part) for convolution in first)) for part in parts
        )
        self.rest = nn.Sequential(*rest)
        self.shortcuts = nn.ModuleList(_inputs_of(block.shortcut, part) for part in parts)
        self.eval()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Map two feature maps to one, ``(B, out_channels, H, W)``.

        Args:
            first: ``(B, channels, H, W)``.
            second: ``(B, in_channels - channels, H, W)``.
        """
        maps = [norm(features) for norm, features in zip(self.norms, (first, second), strict=True)]
        inner = [convolution(features) for convolution, features in zip(self.convolutions, maps, strict=True)]
        shortcuts = [shortcut(features) for shortcut, features in zip(self.shortcuts, maps, strict=True)]
        return self.rest(inner[0].add_(inner[1])).add_(shortcuts[0]).add_(shortcuts[1]).relu_()


def _inputs_of(layer: nn.Module, channels: slice) -> nn.Module:
    """Return a batch norm, depthwise convolution or 1x1 convolution restricted to some of its input channels."""
    if isinstance(layer, nn.BatchNorm2d):
        state = {name: value[channels] if value.dim() else value for name, value in layer.state_dict().items()}
        norm = nn.BatchNorm2d(len(state["weight"]), layer.eps)
        norm.load_state_dict(state)
        return norm
    convolution = deepcopy(layer)
    assert isinstance(convolution, nn.Conv2d)
    depthwise = convolution.groups > 1
    weight = convolution.weight.detach()[channels if depthwise else (slice(None), channels)].clone()
    convolution.weight = nn.Parameter(weight)
    convolution.in_channels = weight.shape[0 if depthwise else 1]
    convolution.groups = len(weight) if depthwise else 1
    return convolution
