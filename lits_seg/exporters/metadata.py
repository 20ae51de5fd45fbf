"""Describe an export: collect the metadata to store in its file."""

from pathlib import Path

from lits_seg.data.volumes import LABELS
from lits_seg.inference.contract import CONTRACT, ExportMetadata
from lits_seg.runs.provenance import provenance
from lits_seg.training.checkpoints import network_facts
from lits_seg.training.module import LesionModule


def describe_export(ckpt: str | Path, module: LesionModule, format: str, precision: str) -> ExportMetadata:
    """Return the metadata of an exported file.

    Args:
        ckpt: path of the checkpoint.
        module: the checkpoint's network.
        format: ``onnx``, ``openvino`` or ``executorch``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
    """
    made_by = provenance(ckpt)
    return ExportMetadata(
        research_use_only=made_by.research_use_only,
        lits_seg=made_by.lits_seg,
        git_commit=made_by.git_commit,
        checkpoint=made_by.checkpoint,
        contract=CONTRACT,
        format=format,
        precision=precision,
        classes=module.classes,
        context=module.context,
        labels=LABELS,
        window_hu=list(module.preprocess.window),
        preprocess=module.preprocess.plain(),
        rules=module.rules,
        foreground=module.targets.foreground,
        **vars(network_facts(module)),
    )
