"""lits_seg: light-weight segmentation of liver lesions in CT. Research use only."""

import sys

from lits_seg.common.dependencies import tell_missing

__version__ = "0.1.0"

RESEARCH_USE = "Research use only."

# While python -m looks for a command: before the command's own imports, one of which may be missing.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = tell_missing
