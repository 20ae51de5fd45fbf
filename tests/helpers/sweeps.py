"""Sweeps of tiny runs, and what they leave in their folders."""

import json
import re
from pathlib import Path

from helpers.commands import SMOKE

# Names of folders tell what differs from the configs: here what SMOKE sets, too.
CPU = tuple(override for override in SMOKE if not override.startswith("trainer"))
ONE_EPOCH = (*CPU, "trainer=cpu", "trainer.max_epochs=1")


def results(sweep: Path) -> dict[str, dict]:
    """The results of a sweep's jobs, by the folder's beginning."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(sweep.glob("*/result.json"))}
    return {re.match(r".*?_seed\d+", name)[0]: result for name, result in found.items()}


def job_folders(sweep: Path) -> list[Path]:
    return sorted(path for path in sweep.iterdir() if path.is_dir() and not path.name.startswith("."))
