"""Packages that only some commands need, and what a command says where they are missing."""

import sys
from functools import cache
from types import ModuleType, TracebackType
from typing import Any

from lits_seg.common.errors import InputError

# As they are imported, by the extra of pyproject.toml that installs them.
EXTRAS = {
    "runtime": ("onnxruntime", "openvino"),
    "train": ("torch", "pytorch_lightning", "torchmetrics", "monai", "matplotlib", "wandb", "tensorboard"),
    "export": ("onnx", "onnxscript"),
}


def missing(error: BaseException) -> str | None:
    """How to install the package that an import did not find; None for any other error."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    for extra, packages in EXTRAS.items():
        if name in packages:
            return str(InputError("this command", f"{name} (pip install 'lits_seg[{extra}]')", "none"))
    return None


def tell_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A ``sys.excepthook`` that tells of a missing package in one line, of anything else by its traceback."""
    message = missing(error)
    if message is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(f"error: {message}", file=sys.stderr)


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would tell a server of each import."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # as if it were not installed
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """OpenVINO's core, one for the process.

    Each sets a stack that signal handlers run on, and takes it back. Where several end in another order than they were
    made in, one that is freed remains, and the next Ctrl-C or ended child process would end this process, too.
    """
    return import_openvino().Core()
