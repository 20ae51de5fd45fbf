"""Runs the project's commands as a user does."""

import subprocess
import sys
from pathlib import Path

# Tiny volumes and a narrow network: a run takes seconds.
SMOKE = (
    "data=smoke",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "data.batch_size=4",
    "model.encoder_widths=[8,8,16,16]",
    "model.innermost_width=32",
    "model.decoder_widths=[16,16,8,8]",
)


def run_command(command: str, *arguments: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """``python -m lits_seg.<command> <arguments>`` in a folder; fails where it ends with another status."""
    done = subprocess.run(
        [sys.executable, "-m", f"lits_seg.{command}", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done
