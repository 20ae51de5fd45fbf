"""Light-weight segmentation of liver lesions in CT. Research use only."""

from lits_seg.common.torchvision_build import declare_operators

__version__ = "0.2.0.dev0"

RESEARCH_USE = "Research use only."

declare_operators()
