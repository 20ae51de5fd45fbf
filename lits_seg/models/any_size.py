"""Parts that the published networks share: padding of images, convolution with batch norm and ReLU, initial weights."""

from torch import Tensor, nn
from torch.nn import functional

from lits_seg.models.blocks import channels_last


class AnySize(nn.Module):
    """A network that halves images several times, for images of any size.

    ``forward`` maps images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``. Images are padded with
    their edge values to multiples of ``stride``, and the logits are cropped.

    Attributes:
        stride: side in pixels of what one pixel of the innermost map covers.
        channels_last: give one-channel images channels-last strides, the memory format in which convolutions are
            fastest. To keep PyTorch's default strides, set the attribute to False here and in the blocks.
        pretrained: names of the layers that the original took from a classifier of ImageNet, in the classifier's order
            (see ``models.pretrained``).
    """

    stride: int
    channels_last = True
    pretrained: tuple[str, ...] = ()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map ``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)`` (before the softmax), or to a tuple of them."""
        height, width = images.shape[-2:]
        padded = functional.pad(images, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        logits = self.logits_of(channels_last(padded) if self.channels_last else padded)
        if isinstance(logits, tuple):
            return tuple(one[..., :height, :width] for one in logits)
        return logits[..., :height, :width]

    def logits_of(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map padded images to logits of the same size; H and W are multiples of ``stride``.

        In training, a network may return a tuple: its logits, and those of side outputs.
        """
        raise NotImplementedError


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Sequential:
    """Return a convolution, batch norm and ReLU.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernels in pixels.
        stride: stride of the convolution.
        groups: groups of the convolution; ``in_channels``: depthwise.
        bias: whether the convolution has a bias. The batch norm makes the bias useless, but some originals count it.
    """
    padding = kernel_size // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution by He et al. (2015), which networks without norms need; for ``apply``."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
