"""Networks of optional packages, with the argument names that ``conf/model`` uses for all networks."""

from lits_seg.common.errors import InputError
from lits_seg.common.settings import Width

try:
    from segmentation_models_pytorch import Unet
except ImportError as error:
    package = "segmentation_models_pytorch (pip install 'lits_seg[rivals]')"
    raise InputError("model=smp_mobilenet", package, error) from error


class MobileNetUNet(Unet):
    """The UNet of segmentation_models.pytorch with a MobileNetV2 encoder (Sandler et al., 2018), not pretrained.

    ``forward`` maps images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``. H and W must be multiples
    of 32.

    Args:
        in_channels: channels of the images.
        out_channels: number of classes.
    """

    def __init__(self, in_channels: Width = 1, out_channels: Width = 2) -> None:
        super().__init__("mobilenet_v2", encoder_weights=None, in_channels=in_channels, classes=out_channels)
