"""Let torchvision be imported if its build does not fit the installed PyTorch, such as PyTorch's build for CPUs.

pip installs torchvision from PyPI in its CUDA build, whose compiled operators do not load without CUDA's PyTorch. The
import then ends with ``operator torchvision::nms does not exist``, also that of every package that imports torchvision
if it is installed (torchmetrics, timm). Two declarations are enough: no network of lits_seg calls these operators.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

REGISTRATIONS = "torchvision._meta_registrations"  # imported after torchvision tried to load its own operators
KEPT: list[Any] = []  # the declarations end with this object


class _Declare(MetaPathFinder):
    """A finder that finds nothing, and declares the missing operators just before they are needed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name != REGISTRATIONS:
            return
        torch = sys.modules["torch"]  # torchvision has imported it
        missing = [operator for operator in ("nms", "qnms") if not hasattr(torch.ops.torchvision, operator)]
        if missing:
            library = torch.library.Library("torchvision", "FRAGMENT")
            KEPT.append(library)
            for operator in missing:
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def declare_operators() -> None:
    """Declare the operators of torchvision that are missing, if and when torchvision is imported."""
    if not any(isinstance(finder, _Declare) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Declare())
