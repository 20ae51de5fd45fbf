"""Optional packages: the extra that installs each, and how to import OpenVINO."""

import sys
from functools import cache
from types import ModuleType
from typing import Any

from lits_seg.common.errors import InputError

# Import names by the extra of pyproject.toml that installs them.
EXTRAS = {
    "runtime": ("onnxruntime", "openvino"),
    "train": ("torch", "pytorch_lightning", "torchmetrics", "monai", "matplotlib", "wandb", "tensorboard"),
    "export": ("onnx", "onnxscript"),
}


def missing(error: BaseException) -> str | None:
    """Return how to install the package that an import did not find; None for any other error."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    for extra, packages in EXTRAS.items():
        if name in packages:
            return str(InputError("this command", f"{name} (pip install 'lits_seg[{extra}]')", "none"))
    return None


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report each import to a server."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # as if it were not installed
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """Return OpenVINO's core, the same for the whole process.

    Each core replaces the stack that signal handlers run on, and restores the earlier stack at its end. Several cores
    that end in another order leave a freed stack behind: the next Ctrl-C or child process would then end this process.
    """
    return import_openvino().Core()
