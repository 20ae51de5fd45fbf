"""The graph as an ExecuTorch program, for apps on phones: XNNPACK's kernels, 32 bits, slices of one size."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

from lits_seg.common.errors import InputError
from lits_seg.exporters.graph import Contract
from lits_seg.inference.exported import METADATA
from lits_seg.inference.segmenter import Segmenter
from lits_seg.training.module import LesionModule


def write_executorch(segmenter: LesionModule, path: Path, metadata: dict[str, Any]) -> None:
    """A program for one slice of ``metadata["plane"]`` pixels at a time, and what it is as its method ``lits_seg``.

    ExecuTorch plans memory ahead and has no kernels for sizes that are computed from other sizes, as the weights of
    resizing are: the slice's height and width are fixed.
    """
    # Some of its kernels want the memory order that the shape tells; the order does not change the function.
    network = deepcopy(segmenter.network).to(memory_format=torch.contiguous_format)
    contract = Contract(network, segmenter.preprocess, segmenter.classes).eval()
    hu = torch.zeros(1, segmenter.context, *metadata["plane"])
    program = to_edge_transform_and_lower(
        torch.export.export(contract, (hu,)),
        partitioner=[XnnpackPartitioner()],
        constant_methods={METADATA: json.dumps(metadata)},
    ).to_executorch()
    path.write_bytes(program.buffer)


class ExecuTorchProgram(Segmenter):
    """A file of ``write_executorch``, run by ExecuTorch's own runtime, slice by slice."""

    def __init__(self, path: Path) -> None:
        program = Runtime.get().load_program(path)
        self.metadata = json.loads(program.load_method(METADATA).execute([])[0])
        self.method = program.load_method("forward")
        self.classes, self.context = self.metadata["classes"], self.metadata["context"]

    def __call__(self, hu: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See ``Segmenter``."""
        labels, probability, _ = self._run(hu[around])
        return labels, np.rint(255 * probability).astype(np.uint8)

    def logits(self, hu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``Exported.logits``."""
        labels, _, logits = self._run(hu)
        return labels, logits

    def describe(self) -> dict[str, Any]:
        """See ``Segmenter``."""
        return {"model": self.metadata, "settings": {"precision": "fp32", "device": "cpu, ExecuTorch"}}

    def _run(self, hu: np.ndarray) -> list[np.ndarray]:
        if list(hu.shape[2:]) != self.metadata["plane"]:
            raise InputError("plane", f"slices of {self.metadata['plane']} pixels", list(hu.shape[2:]))
        slices = torch.from_numpy(np.ascontiguousarray(hu, np.float32)).split(1)
        # Copied: the tensors that come out lie where the next slice's will.
        outputs = [[output.clone().numpy() for output in self.method.execute([one])] for one in slices]
        return [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
