"""A build of torchvision without compiled operators can be imported."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from lits_seg.common import torchvision_build

REGISTRATIONS = """
import torch

@torch.library.register_fake("torchvision::nms")
def nms(dets, scores, iou_threshold):
    return dets

@torch.library.register_fake("torchvision::qnms")
def qnms(dets, scores, iou_threshold):
    return dets
"""


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="for environments without torchvision")
def test_missing_operators_are_declared_at_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("import torch\nfrom torchvision import _meta_registrations\n")
    (tmp_path / "torchvision" / "_meta_registrations.py").write_text(REGISTRATIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torchvision_build, "KEPT", [])
    finders = [finder for finder in sys.meta_path if type(finder) is not torchvision_build._Declare]
    assert len(finders) == len(sys.meta_path) - 1  # the package itself has installed one
    try:
        with monkeypatch.context() as without:
            without.setattr(sys, "meta_path", finders)
            with pytest.raises(RuntimeError, match="operator torchvision::nms does not exist"):
                importlib.import_module("torchvision")
        importlib.import_module("torchvision")
        assert torch.ops.torchvision.nms
        assert torch.ops.torchvision.qnms
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
