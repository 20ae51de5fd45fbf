"""What a training shows: its own lines alone, and a progress bar in a terminal."""

import logging
import os
import warnings
from pathlib import Path

import pytest
from helpers.commands import ENVIRONMENT, SMOKE, run_command, run_in_terminal, start_command

from lits_seg.training.messages import hide_chatter

OWN = (
    "epoch ",
    "Lesions, ",
    "| ",
    "Research use only.",
    "run folder: ",
)
BAR = ("synthetic CT volumes: ", "preparing slices: ", "Training: ", "Epoch ", "Validation", "Testing")


def foreign(shown: str, own: tuple[str, ...]) -> list[str]:
    """Lines that are none of the command's own."""
    lines = [line.replace("\x1b[A", "").strip() for line in shown.replace("\r", "\n").splitlines()]
    return [line for line in lines if line and not line.startswith(own)]


def test_a_training_prints_its_own_lines_alone(tmp_path: Path) -> None:
    """Also on a machine with Slurm."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.touch(0o755)
    environment = {**ENVIRONMENT, "PATH": f"{srun.parent}:{os.environ['PATH']}"}
    arguments = (*SMOKE, "name=a", "ckpt_path=last")
    run_command("train", *arguments, cwd=tmp_path)
    (tmp_path / "runs" / "a" / "result.json").unlink()
    # Resumed, which has more to say. The next test is about a start.
    process = start_command("train", *arguments, cwd=tmp_path, env=environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert foreign(out + err, (*OWN, "[")) == []
    assert "epoch 1/2" not in out


def test_a_terminal_shows_a_progress_bar(tmp_path: Path) -> None:
    shown = run_in_terminal("train", *SMOKE, "trainer.max_epochs=1", "name=a", cwd=tmp_path)
    assert "Epoch 0: 100%" in shown
    place = f"{tmp_path}/data/smoke: synthetic CT volumes are written into this folder"
    assert [line for line in foreign(shown, (*OWN, *BAR)) if not line.endswith(place)] == []


def test_real_problems_are_shown(recwarn: pytest.WarningsRecorder) -> None:
    with warnings.catch_warnings():
        hide_chatter()
        logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
        assert logger.isEnabledFor(logging.WARNING)
        assert not logger.isEnabledFor(logging.INFO)
        for category, module in (
            (UserWarning, "torch"),
            (UserWarning, "pytorch_lightning.loops"),
            (FutureWarning, "lits_seg.train"),
        ):
            warnings.warn_explicit("a loss that is not finite", category, "file.py", 1, module)
        for category, module in ((FutureWarning, "torch.utils"), (DeprecationWarning, "monai")):
            warnings.warn_explicit("is deprecated", category, "file.py", 1, module)
    assert [str(warning.message) for warning in recwarn] == ["a loss that is not finite"] * 3
