"""Define what an exported model promises: the names in its graph, and the metadata in its file.

Whoever writes files (``exporters``) and whoever runs them (``inference.exported``) share these definitions.
"""

import json
from dataclasses import dataclass
from typing import Any

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain, from_plain
from lits_seg.runs.provenance import Provenance
from lits_seg.runs.result import NetworkFacts

# The names of the graph's input and outputs in every format, and the version of their meaning.
HU = "hu"  # (B, context, H, W) float32
LABELS, PROBABILITY, LOGITS = "labels", "probability", "logits"  # (B, H, W) twice, (B, K, size, size)
OUTPUTS = (LABELS, PROBABILITY, LOGITS)
CONTRACT = 1

METADATA = "lits_seg"  # the key of the metadata in ONNX and ExecuTorch files


@dataclass(frozen=True, kw_only=True)
class ExportMetadata(Provenance, NetworkFacts):
    """The facts that an exported file holds about itself.

    Args:
        contract: version of the meaning of input and outputs.
        format: ``onnx``, ``openvino`` or ``executorch``.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        classes: 2 (lesion or not) or 3 (background, liver, lesion).
        context: slices that the graph takes for one slice's labels.
        labels: the meaning of each label in the mask.
        window_hu: lower and upper end of the HU window.
        preprocess: the arguments of ``Preprocess``.
        plane: height and width in pixels, if the graph takes slices of one size only (ExecuTorch).
    """

    contract: int
    format: str
    precision: str
    classes: int
    context: int
    labels: dict[int, str]
    window_hu: list[float]
    preprocess: dict[str, Any]
    plane: list[int] | None = None

    def to_json(self) -> str:
        """Return the metadata as JSON; ``plane`` only if there is one."""
        plain = as_plain(self)
        if self.plane is None:
            del plain["plane"]
        return json.dumps(plain, indent=2)


def read_metadata(text: str | None, path: object) -> ExportMetadata:
    """Validate the metadata of an exported file.

    Args:
        text: JSON from the file; None if it holds none.
        path: the file that an error names.

    Raises:
        InputError: if there is no metadata, or metadata of another contract.
    """
    if text is None:
        raise InputError(path, "a model that lits_seg exported", "another program's")
    try:
        plain = json.loads(text)
        contract = plain["contract"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"metadata of an export ({METADATA})", f"{type(error).__name__}: {error}") from error
    if contract != CONTRACT:
        raise InputError(path, f"a model of contract {CONTRACT}", f"{contract}: export it again")
    return from_plain(ExportMetadata, plain, path)
