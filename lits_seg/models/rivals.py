"""Networks of other packages that are not always there, under the names that ``conf/model`` gives all networks."""

from lits_seg.common.errors import InputError

try:
    from segmentation_models_pytorch import Unet
except ImportError as error:
    package = "segmentation_models_pytorch (pip install 'lits_seg[rivals]')"
    raise InputError("model=smp_mobilenet", package, error) from error


class MobileNetUNet(Unet):
    """segmentation_models.pytorch's UNet on a MobileNetV2 encoder (Sandler et al., 2018), never trained before.

    ``forward``: images ``(B, in_channels, H, W)`` to logits ``(B, out_channels, H, W)``, H and W multiples of 32.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2) -> None:
        super().__init__("mobilenet_v2", encoder_weights=None, in_channels=in_channels, classes=out_channels)
