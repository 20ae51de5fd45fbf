"""Networks of optional packages, with the argument names that ``conf/model`` uses for all networks."""

from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError
from lits_seg.common.settings import Width, nearest

try:
    from segmentation_models_pytorch import Unet
    from segmentation_models_pytorch.encoders import encoders
except ImportError as error:
    package = f"segmentation_models_pytorch ({install('rivals')})"
    raise InputError("model=smp_unet", package, error) from error


class SmpUNet(Unet):
    """The UNet of segmentation_models.pytorch on one of its encoders.

    ``forward`` maps images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``. H and W must be multiples
    of 32.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
        encoder: name of the encoder, such as ``se_resnet50``; nothing is downloaded.

    Attributes:
        pretrained: see ``AnySize``.

    Raises:
        InputError: if there is no such encoder.
    """

    pretrained = ("encoder",)

    def __init__(self, in_channels: Width = 1, out_channels: Width = 2, encoder: str = "resnet50") -> None:
        if encoder not in encoders:
            raise InputError("model.encoder", f"one of {nearest(encoder, encoders)}", encoder)
        super().__init__(encoder, encoder_weights=None, in_channels=in_channels, classes=out_channels)


class MobileNetUNet(SmpUNet):
    """The UNet of segmentation_models.pytorch with a MobileNetV2 encoder (Sandler et al., 2018), not pretrained.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
    """

    def __init__(self, in_channels: Width = 1, out_channels: Width = 2) -> None:
        super().__init__(in_channels, out_channels, "mobilenet_v2")
