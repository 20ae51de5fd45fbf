"""Networks: plain ``nn.Module`` classes that map images ``(B, C, H, W)`` to logits ``(B, K, H, W)``."""

from lits_seg.models.cascade import Cascade
from lits_seg.models.dense import DenseUNet
from lits_seg.models.detector import Detector, DetectorCascade
from lits_seg.models.driu import DRIU
from lits_seg.models.folding import for_inference
from lits_seg.models.han import HanUNet
from lits_seg.models.mobilenet import MobileNetV1UNet
from lits_seg.models.residual_fcn import ResidualFCN, Tandem
from lits_seg.models.strided import StridedUNet
from lits_seg.models.unet import DSCUNet, UNet, UShape
from lits_seg.models.vgg import FCN8s, SegNet, TernausNet

__all__ = [
    "DRIU",
    "Cascade",
    "DSCUNet",
    "DenseUNet",
    "Detector",
    "DetectorCascade",
    "FCN8s",
    "HanUNet",
    "MobileNetV1UNet",
    "ResidualFCN",
    "SegNet",
    "StridedUNet",
    "Tandem",
    "TernausNet",
    "UNet",
    "UShape",
    "for_inference",
]
