"""Light-weight segmentation of liver lesions in CT. Research use only."""

__version__ = "0.1.0"

RESEARCH_USE = "Research use only."
