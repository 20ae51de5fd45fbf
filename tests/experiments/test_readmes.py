"""Every experiment says what it asks and answers, and its command shows its settings."""

from pathlib import Path

import pytest
from helpers.experiments import run_experiment

ROOT = Path(__file__).parents[2] / "experiments"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/README.md"))
COMMANDS = sorted(path.parent.name for path in ROOT.glob("*/settings.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_readme(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    assert text.startswith("# ")
    assert all(f"**{part}" in text for part in ("Question.**", "Command", "Data.**", "Answer.**"))
    assert f"({folder.name})" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", [*(f"{name}.__main__" for name in COMMANDS), "inference_speed.layers"])
def test_settings(name: str, tmp_path: Path) -> None:
    shown = run_experiment(name, "--cfg", "job", "output=elsewhere", cwd=tmp_path)
    assert "output: elsewhere" in shown
    assert not list(tmp_path.iterdir())
