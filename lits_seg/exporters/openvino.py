"""Write the graph as OpenVINO's intermediate representation, its files in one ZIP."""

import zipfile
from pathlib import Path

import onnx

from lits_seg.common.dependencies import import_openvino, openvino_core
from lits_seg.exporters.onnx import Parts, join
from lits_seg.inference.contract import ExportMetadata
from lits_seg.inference.exported import OPENVINO_METADATA, OPENVINO_MODEL, OPENVINO_PREPARE


def write_openvino(parts: Parts, path: Path, metadata: ExportMetadata) -> None:
    """Write one file of the precision that its metadata names.

    For bf16, the images are made by a model of their own that runs in fp32: OpenVINO's CPU device sets the precision
    of a whole model, and HU with 8 significant bits would give other grey levels. 8-bit images lose nothing.

    Args:
        parts: the graph.
        path: the file to write.
        metadata: the facts that the file holds about itself.
    """
    models = {OPENVINO_MODEL: join(parts.prepare, parts.logits, parts.restore)}
    if metadata.precision == "bf16":
        models = {OPENVINO_PREPARE: onnx.load(parts.prepare), OPENVINO_MODEL: join(None, parts.logits, parts.restore)}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(OPENVINO_METADATA, metadata.to_json())
        for name, model in models.items():
            for part in _save(model, path.parent / name, metadata.precision in ("fp16", "bf16")):
                file.write(part, part.name)
                part.unlink()


def _save(model: onnx.ModelProto, stem: Path, fp16_weights: bool) -> tuple[Path, Path]:
    # Read from a file, OpenVINO keeps no copy of the weights, and the converter with its telemetry is not involved.
    ov = import_openvino()
    source, xml = stem.with_suffix(".onnx.tmp"), stem.with_suffix(".xml")
    onnx.save(model, source)
    try:
        ov.save_model(openvino_core().read_model(source), xml, compress_to_fp16=fp16_weights)
    finally:
        source.unlink()
    return xml, xml.with_suffix(".bin")
