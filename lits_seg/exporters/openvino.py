"""Write the graph in OpenVINO's intermediate representation, with all files in a ZIP archive."""

import zipfile
from pathlib import Path

import onnx

from lits_seg.common.dependencies import import_openvino, openvino_core
from lits_seg.exporters.onnx import Parts, join
from lits_seg.inference.contract import ExportMetadata
from lits_seg.inference.exported import OPENVINO_METADATA, OPENVINO_MODEL, OPENVINO_PREPARE


def write_openvino(parts: Parts, path: Path, metadata: ExportMetadata) -> None:
    """Write a file in the precision given by its metadata.

    With bf16, pre-processing is a separate model that runs in fp32. OpenVINO's CPU device has a single precision for
    all of a model, and HU rounded to bf16 would give other grey levels. The 8-bit images are exact in bf16.

    Args:
        parts: the parts of the graph.
        path: the file to write.
        metadata: metadata to store in the file.
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
    # OpenVINO reads the ONNX file directly: this needs no second copy of the weights, and avoids the converter and its
    # telemetry.
    ov = import_openvino()
    source, xml = stem.with_suffix(".onnx.tmp"), stem.with_suffix(".xml")
    onnx.save(model, source)
    try:
        ov.save_model(openvino_core().read_model(source), xml, compress_to_fp16=fp16_weights)
    finally:
        source.unlink()
    return xml, xml.with_suffix(".bin")
