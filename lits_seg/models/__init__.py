"""Networks: plain ``nn.Module`` classes that map images ``(B, C, H, W)`` to logits ``(B, K, H, W)``."""

from lits_seg.models.folding import for_inference
from lits_seg.models.strided import StridedUNet
from lits_seg.models.unet import DSCUNet, UNet, UShape

__all__ = ["DSCUNet", "StridedUNet", "UNet", "UShape", "for_inference"]
