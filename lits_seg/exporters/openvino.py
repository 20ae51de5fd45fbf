"""The graph as OpenVINO's intermediate representation, its files in one ZIP."""

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx

from lits_seg.common.dependencies import import_openvino, openvino_core
from lits_seg.exporters.onnx import Parts, join
from lits_seg.inference.exported import OPENVINO_METADATA, OPENVINO_MODEL, OPENVINO_PREPARE


def write_openvino(parts: Parts, path: Path, metadata: dict[str, Any]) -> None:
    """One file of the precision that ``metadata`` tells.

    For bf16, what makes the images is a model of its own, that is run in 32 bits: OpenVINO's CPU device sets the
    precision of a whole model, and HU of 8 significant bits would give other grey levels. 8-bit images lose nothing.
    """
    models = {OPENVINO_MODEL: join(parts.prepare, parts.logits, parts.restore)}
    if metadata["precision"] == "bf16":
        models = {OPENVINO_PREPARE: onnx.load(parts.prepare), OPENVINO_MODEL: join(None, parts.logits, parts.restore)}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(OPENVINO_METADATA, json.dumps(metadata, indent=2))
        for name, model in models.items():
            for part in _save(model, path.parent / name, metadata["precision"] in ("fp16", "bf16")):
                file.write(part, part.name)
                part.unlink()


def _save(model: onnx.ModelProto, stem: Path, fp16_weights: bool) -> tuple[Path, Path]:
    # From a file: read so, no copy of the weights is kept, and nothing of the converter's telemetry is involved.
    ov = import_openvino()
    source, xml = stem.with_suffix(".onnx.tmp"), stem.with_suffix(".xml")
    onnx.save(model, source)
    try:
        ov.save_model(openvino_core().read_model(source), xml, compress_to_fp16=fp16_weights)
    finally:
        source.unlink()
    return xml, xml.with_suffix(".bin")
