"""``make clean`` keeps what took work; ``make clean-data`` asks first."""

import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


def make(target: str, cwd: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    # The environment that runs the tests may be named by VENV.
    command = ["make", "--no-print-directory", "-f", str(MAKEFILE), "VENV=.venv", target]
    return subprocess.run(command, cwd=cwd, input=typed, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("data/LiTS/volume-0.nii", "runs/mine/result.json", ".venv/bin/python", "dist/wheel"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    return tmp_path


def test_clean_keeps_data_and_results(folder: Path) -> None:
    assert make("clean", folder).returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == ["data", "runs"]


@pytest.mark.parametrize(("typed", "kept"), [("n\n", ["data", "runs"]), ("\n", ["data", "runs"]), ("y\n", [])])
def test_clean_data_lists_the_folders_and_asks(typed: str, kept: list[str], folder: Path) -> None:
    done = make("clean-data", folder, typed)
    assert done.returncode == 0
    assert "Remove these folders" in done.stdout
    assert all(f"\t{name}\n" in done.stdout for name in ("data", "runs"))
    assert [name for name in ("data", "runs") if (folder / name).exists()] == kept
    assert (folder / ".venv" / "bin" / "python").exists()
