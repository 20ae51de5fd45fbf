import json
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import run_command

from lits_seg.inference.ensemble import Ensemble

pytest.importorskip("executorch", reason="the executorch extra")


@pytest.mark.parametrize("classes", [2, 3])
def test_a_program_is_the_checkpoint(classes: int, tmp_path: Path, lits: Path) -> None:
    from lits_seg.exporters.executorch import ExecuTorchProgram

    save_checkpoint(tmp_path / "net.ckpt", settings=with_model(out_channels=classes))
    (tmp_path / "lits").symlink_to(lits)
    arguments = ("ckpt=net.ckpt", "references=lits", "format=executorch", "slices=4", "patients=0")
    out = run_command("export", *arguments, cwd=tmp_path)
    assert "| lits_seg_fp32.pte " in out
    program = ExecuTorchProgram(tmp_path / "exported/lits_seg_fp32.pte")
    assert json.dumps(program.metadata.labels) == '{"0": "background", "1": "liver", "2": "lesion"}'
    hu = np.random.default_rng(0).normal(50, 80, (3, *program.metadata.plane)).astype(np.int16)
    around = np.arange(3)[:, None]
    labels, probability = Ensemble([tmp_path / "net.ckpt"], device="cpu")(hu, around)
    found = program(hu, around)
    assert (found[0] == labels).mean() > 0.999
    assert np.abs(found[1].astype(int) - probability).max() <= 1
