"""Every command and every Python example of README and docs works: it is composed, dry-run or executed here."""

import contextlib
import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
from helpers.commands import run_command
from helpers.volumes import AFFINES, anatomy
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf

from lits_seg.cli import CONF
from lits_seg.packaged.card import FOLDER, ONNX

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted(ROOT.glob("experiments/*/README.md"))
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Programs of others that need an account, a server, a shell's state, or an environment made by hand.
NOT_OURS = (
    ". .venv/bin/activate",
    "wandb ",
    "nnUNetv2_",
    "shopt ",
    "tensorboard ",
    "python3 -m venv",
    "NEW/bin/",
    "du ",
    "tar ",
    "for ",
)


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        yield from ((page, text) for kind, text in BLOCK.findall(page.read_text()) if kind == language)


def commands() -> list[str]:
    """Each command once, continued lines joined; without comments and the programs of others."""
    lines = [line for _, block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    each = dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in lines)
    return [command for command in each if command and not command.startswith(NOT_OURS)]


def first_of_each_sweep(arguments: list[str]) -> Iterator[str]:
    """The overrides of the first job of ``-m``; other arguments as they are."""
    for argument in arguments:
        if argument.startswith("-") or "=" not in argument:
            yield argument
            continue
        override: Override = OverridesParser.create().parse_override(argument)
        if isinstance(override.value(), IntervalSweep):
            yield f"{override.get_key_element()}={override.value().start}"
        elif override.is_sweep_override():
            yield f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
        else:
            yield argument


def compose(name: str, arguments: list[str], cwd: Path) -> None:
    """Have the command compose and print its configuration: an unknown key, group or choice ends it with an error."""
    if "-m" in arguments:
        arguments = list(first_of_each_sweep([argument for argument in arguments if argument != "-m"]))
    if "--help" in arguments:
        run_command(name, *arguments, cwd=cwd)
        return
    if name == "phantom":  # has arguments and options, no configuration
        with mock.patch("lits_seg.phantom.__main__.write_phantom", autospec=True) as written:
            run_command("phantom.__main__", *arguments, cwd=cwd)
        written.assert_called_once()
        return
    out = run_command(name, *arguments, *([] if "--cfg" in arguments else ["--cfg", "job"]), cwd=cwd)
    assert out
    assert not re.search(r": \?\?\?$", out, re.MULTILINE), f"a required setting is missing\n{out}"


@pytest.mark.parametrize("command", commands())
def test_command(command: str, tmp_path: Path) -> None:
    program, *arguments = shlex.split(command)
    if program == "lits-seg":
        if arguments:
            compose(arguments[0], arguments[1:], tmp_path)
        else:
            listed = subprocess.run([sys.executable, "-m", "lits_seg"], check=True, capture_output=True, text=True)
            assert "predict" in listed.stdout
    elif command.startswith("python -m lits_seg."):
        compose(arguments[1].removeprefix("lits_seg."), arguments[2:], tmp_path)
    elif command.startswith("python -m experiments."):
        assert importlib.util.find_spec(arguments[1])
    elif program == "make":
        subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, check=True, capture_output=True)
    elif program == "pip":
        for extra in re.findall(r"\[([^\]]+)\]", arguments[-1]):
            assert set(extra.split(",")) <= PROJECT["optional-dependencies"].keys()
    elif program == "python" and arguments[0].startswith("tests/"):  # a script that takes a command of ours
        assert (ROOT / arguments[0]).exists()
        assert arguments[1:3] == ["python", "-m"]
        compose(arguments[3].removeprefix("lits_seg."), arguments[4:], tmp_path)
    else:
        pytest.fail(f"{command}: expected lits-seg, an experiment, make, pip or a script of the tests")


def test_commands_in_the_text() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for kind, name in re.findall(r"`(lits-seg|make) ([a-z-]+)[ `]", page.read_text()):
            if kind == "make":
                assert re.search(rf"^{name}:", makefile, re.MULTILINE), f"{page.name}: make {name}"
            else:
                assert importlib.util.find_spec(f"lits_seg.{name}"), f"{page.name}: lits-seg {name}"


def exists(name: str) -> bool:
    """Whether a name is that of a module, or of something in a module."""
    package, _, last = name.rpartition(".")
    with contextlib.suppress(ModuleNotFoundError):  # its package is a module
        if importlib.util.find_spec(name):
            return True
    return importlib.util.find_spec(package) is not None and hasattr(importlib.import_module(package), last)


def test_modules_in_the_text() -> None:
    """In the changelog's table of new names, a name without a package is in the package of the name before."""
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for line in page.read_text().splitlines():
            renamed = re.fullmatch(r"\| `lits_seg\..*` \| (.*) \|", line)
            package = ""
            for found in re.findall(r"`([\w.]*\w)", renamed[1] if renamed else line):
                name = f"{package}.{found}" if renamed and package and found.islower() and "." not in found else found
                if name.startswith("lits_seg.") and "NAME" not in name:
                    package = name.rpartition(".")[0]
                    assert exists(name), f"{page.name}: {name}"
    rooms = "|".join(path.name for path in (ROOT / "lits_seg").iterdir() if (path / "__init__.py").exists())
    for name in re.findall(rf"`((?:{rooms})\.\w+)", (ROOT / "docs" / "architecture.md").read_text()):
        assert exists(f"lits_seg.{name}"), f"architecture.md: {name}"


def test_experiments_in_the_text() -> None:
    for page in PAGES:
        for name in re.findall(r"python -m (experiments\.[\w.]*\w)", page.read_text()):
            spec = importlib.util.find_spec(name)
            assert spec, f"{page.name}: {name}"


def test_every_choice_is_documented() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    defaults = [entry for entry in OmegaConf.load(CONF / "train.yaml").defaults if entry != "_self_"]
    for group in (str(next(iter(entry))) for entry in defaults if not str(next(iter(entry))).startswith("override")):
        row = next((line for line in table.splitlines() if f"`{group}=`" in line), "")
        undocumented = [path.stem for path in (CONF / group).glob("*.yaml") if f"`{path.stem}`" not in row]
        assert not undocumented, f"docs/configuration.md, {group}="


def test_every_room_is_documented() -> None:
    rooms = {path.stem for path in (ROOT / "lits_seg").iterdir() if (path / "__init__.py").exists()}
    rooms |= {path.stem for path in (ROOT / "lits_seg").glob("*.py") if not path.stem.startswith("_")}
    table = (ROOT / "docs" / "architecture.md").read_text()
    assert not [room for room in sorted(rooms) if f"`{room}`" not in table]


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


@pytest.mark.parametrize("network", ["exported", "packaged"])
def test_python_examples(network: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All examples, page by page; the names of one are known to the next. The mask is that of ``predict``."""
    files = {"exported": exported / "exported" / "lits_seg_fp32.onnx", "packaged": FOLDER / ONNX}
    (tmp_path / "exported").mkdir()
    shutil.copy(files[network], tmp_path / "exported" / "lits_seg_fp32.onnx")
    nib.save(nib.Nifti1Image(anatomy(0)[0], AFFINES["RAS"]), tmp_path / "CT.nii.gz")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for page in (ROOT / "docs" / "predict.md", ROOT / "docs" / "deploy.md"):
        for place, text in blocks("python"):
            if place == page:
                exec(compile(text, str(page), "exec"), names)
    run_command("predict", "model=exported", "input=CT.nii.gz", "rules.own=false", "page=false", cwd=tmp_path)
    predicted = nib.load("predictions/CT.nii.gz")
    assert (np.asarray(nib.load("mask.nii.gz").dataobj) == np.asarray(predicted.dataobj)).all()
    assert names["labels"].shape == (1, *names["hu"].shape[1:])
    assert {place.name for place, _ in blocks("python")} == {"predict.md", "deploy.md"}


def test_no_file_name_twice() -> None:
    twice = set()
    for top in ("lits_seg", "tests"):
        names = [path.name for path in (ROOT / top).rglob("*.py") if not path.name.startswith("__")]
        twice |= {name for name in names if names.count(name) > 1}
    assert not twice
