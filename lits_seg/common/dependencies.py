"""Name the extra that installs an optional package; import OpenVINO without its telemetry."""

import sys
from functools import cache
from types import ModuleType
from typing import Any

from lits_seg.common.errors import InputError

# Import names of packages, by the extra in pyproject.toml that installs them.
EXTRAS = {
    "runtime": ("onnxruntime",),
    "openvino": ("openvino",),
    "train": ("scipy", "torch", "pytorch_lightning", "torchmetrics", "monai", "matplotlib", "wandb", "tensorboard"),
    "export": ("onnx", "onnxscript"),
}


def missing(error: BaseException) -> str | None:
    """Return a message that says how to install the package an import did not find; None for any other error."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    for extra, packages in EXTRAS.items():
        if name in packages:
            return str(InputError("this command", f"{name} ({install(extra)})", "none"))
    return None


def install(extra: str) -> str:
    """Return the command that installs an extra of ``pyproject.toml``, for messages."""
    return f"pip install -c constraints.txt '.[{extra}]' in the project's folder"


def extra_of(package: str) -> str:
    """Return the extra that installs a package of ``EXTRAS``."""
    return next(extra for extra, packages in EXTRAS.items() if package in packages)


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which would report every import to a server."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # Python then treats the package as not installed
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """Return OpenVINO's core, a single one for the whole process.

    Each core replaces the stack that signal handlers run on, and restores the previous stack when the core is
    destroyed. If several cores are destroyed in another order, a freed stack stays in use. The next Ctrl-C or child
    process would then crash this process.
    """
    return import_openvino().Core()
