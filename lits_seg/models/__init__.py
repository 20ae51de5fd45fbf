"""The networks: ``forward(images (B, C, H, W)) -> logits (B, K, H, W)``, plain ``nn.Module`` all of them."""

from lits_seg.models.strided import StridedUNet
from lits_seg.models.unet import DSCUNet, UNet, UShape

__all__ = ["DSCUNet", "StridedUNet", "UNet", "UShape"]
