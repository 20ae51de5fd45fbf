"""How commands start, take their settings and end."""

import re
import tomllib
from pathlib import Path

import pytest
from helpers.checkpoints import save_checkpoint
from helpers.commands import failed_command, run_command, run_lits_seg, start_command

from lits_seg.__main__ import COMMANDS, usage
from lits_seg.cli import CONF, explain
from lits_seg.common.errors import InputError

QUOTES = "(a text like this needs inner quotes: '…=\"…\"')"
NEW = (
    "new: expected one of ckpt, liver_ckpt, model, input, output, probability, page, seg, batch_size, tta, device, "
    "precision, threads, liver, rules; found an unknown key"
)


def test_the_console_script_is_declared() -> None:
    project = tomllib.loads((CONF.parent / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"lits-seg": "lits_seg.__main__:main"}


@pytest.mark.parametrize(("door", "arguments"), [("module", ()), ("script", ("--help",))])
def test_the_commands_are_listed(door: str, arguments: tuple[str, ...]) -> None:
    status, out, err = run_lits_seg(*arguments, door=door)
    assert (status, err) == (0, "")
    assert out.strip() == usage()
    for name in COMMANDS:
        assert len(re.findall(rf"^  {name} +\w", out, flags=re.MULTILINE)) == 1
    assert "Research use only." in out


def test_every_command_of_the_package_is_listed() -> None:
    package = CONF.parent / "lits_seg"
    commands = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__", "cli"}
    assert commands | {"phantom"} == set(COMMANDS)


def test_an_unknown_command_is_one_error() -> None:
    status, out, err = run_lits_seg("nonsense")
    assert (status, out) == (2, "")
    assert err == f"error: lits-seg: expected one of {', '.join(COMMANDS)}; found nonsense\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_command_and_shows_examples(command: str, tmp_path: Path) -> None:
    if command == "dashboard":
        pytest.importorskip("wandb")
    module = "phantom.__main__" if command == "phantom" else command
    out = run_command(module, "--help", cwd=tmp_path)
    assert f"lits-seg {command}" in out
    assert "python -m" not in out
    assert "Research use only" in out
    for text in ("decoder: bicubic", "experiment=paper", "data.root=", "ckpt_path=last") if command == "train" else ():
        assert text in out
    assert "commands" not in out
    if command == "predict":  # what works without a training is the first example
        assert re.search(r"Examples\n +lits-seg predict input=CT\.nii\.gz  ", out)
    assert list(tmp_path.iterdir()) == []


def test_a_command_does_the_same_through_either_name(tmp_path: Path) -> None:
    through_list = run_lits_seg("report", "runs=nowhere", cwd=tmp_path)
    process = start_command("report", "runs=nowhere", cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert through_list == (process.returncode, out, err)
    assert err.startswith("error: nowhere: expected a folder with finished runs")


def test_explain_says_what_the_user_can_correct_and_no_more() -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = InputError("file", "this", "that")
    assert explain(wrapped) == "file: expected this; found that"
    assert explain(ZeroDivisionError("a fault of ours")) is None
    assert explain(FileNotFoundError(2, "No such file", "inside")) is None
    assert explain(ModuleNotFoundError("No module named 'nibabel'", name="nibabel")) is None
    told = str(explain(ModuleNotFoundError("No module", name="torch")))
    assert "pip install -c constraints.txt '.[train]' in the project's folder" in told


@pytest.mark.parametrize("output", ["a file", "a file/below", "/proc/nowhere/below"])
def test_an_output_folder_that_cannot_be_made_is_one_error(output: str, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "CT").mkdir()
    save_checkpoint(tmp_path / "net.ckpt")
    (tmp_path / "CT.nii").write_bytes(b"is not read before there is a folder to write to")
    told = failed_command("predict", "ckpt=net.ckpt", "input=CT.nii", f"output={output}", cwd=tmp_path)
    assert re.match(r"error: .*: expected a place to write to; found: ", told)


@pytest.mark.parametrize("name", ["117", "2026_11_25", "1e3", "true", "null"])
def test_paths_that_look_like_numbers(name: str, tmp_path: Path) -> None:
    assert f"error: {name}: expected a folder with finished" in failed_command("report", f"runs={name}", cwd=tmp_path)
    told = failed_command("prepare", f"data.root={name}", cwd=tmp_path)
    assert told.startswith(f"error: {name}: expected")
    assert f"{name}: no checkpoint" not in run_command("train", "--cfg", "job", f"name={name}", cwd=tmp_path)
    assert f"name: '{name}'" in run_command("train", "--cfg", "job", f"name={name}", cwd=tmp_path)


@pytest.mark.parametrize(
    ("command", "argument", "told"),
    [
        ("predict", "page=maybe", "page: expected true or false; found maybe"),
        ("predict", "threads=0", "threads: expected a whole number, at least 1, or null; found 0"),
        ("predict", "batch_size=1.5", "batch_size: expected a whole number, at least 1; found 1.5"),
        ("predict", "batch_size=null", "batch_size: expected a whole number, at least 1; found null"),
        ("predict", "output=[a,b]", f"output: expected one file or folder; found ['a', 'b'] {QUOTES}"),
        ("predict", "rules.largest_lesion=1", "rules.largest_lesion: expected true or false, or null; found 1"),
        ("evaluate", "grid=any", "grid: expected affine or voxels; found any"),
        ("evaluate", "workers=-1", "workers: expected a whole number, at least 0; found -1"),
        ("prepare", "prepare.on_error=ask", "prepare.on_error: expected stop or skip; found ask"),
        ("report", "margin=1", "margin: expected a number, at least 0, less than 1; found 1"),
        ("report", "margin=true", "margin: expected a number, at least 0, less than 1; found true"),
        ("export", "slices=few", "slices: expected a whole number, at least 1; found few"),
        ("dashboard", "sweep=[a,b]", "sweep: expected one name on the W&B server, or null; found ['a', 'b']"),
        ("predict", "batch_size=true", "batch_size: expected a whole number, at least 1; found true"),
        ("predict", "device=gpu", "device: expected one of auto, cpu, cuda; found gpu"),
        ("predict", "output=", "output: expected one file or folder; found an empty text"),
        ("predict", "+new=1", NEW),
        ("prepare", "data.preprocess.equalize=abc", "data.preprocess.equalize: expected true or false; found abc"),
        ("prepare", "data.workers=-1", "data.workers: expected a whole number, at least 0; found -1"),
    ],
)
def test_a_wrong_value_is_one_message(command: str, argument: str, told: str, tmp_path: Path) -> None:
    needed = {"predict": "input=x", "prepare": "data.root=x", "export": "ckpt=x", "dashboard": "entity=x"}
    arguments = [argument, *([needed[command]] if command in needed else [])]
    assert failed_command(command, *arguments, cwd=tmp_path) == f"error: {told}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("CT.nii.gz",), "CT.nii.gz: expected key=value, such as input=CT.nii.gz .*; found no ="),
        (("--input", "CT.nii.gz"), "--input: expected key=value, such as input=CT.nii.gz .*; found an option"),
        (("--input=CT.nii.gz",), "--input=CT.nii.gz: expected key=value, such as input=CT.nii.gz .*; found an option"),
        (("inputs=CT.nii.gz",), r"inputs: expected one of .* \(did you mean input\?\); found an unknown key"),
    ],
)
def test_arguments_that_are_no_settings_are_one_message(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    message = failed_command("predict", *arguments, cwd=tmp_path)
    assert re.fullmatch(f"error: {told}", message), message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("model=dsc_unt",), r"model: expected one of basic_unet, .* \(did you mean dsc_unet\?\); found model/dsc_unt"),
        (("optimizer=null",), "optimizer: expected one of adam, adamw, rmsprop, sgd; found optimizer/null"),
        (("~optimizer",), "optimizer: expected a choice .*; found null"),
        (("optimizr.lr=1",), r"optimizr: expected one of .* \(did you mean optimizer\?\); found an unknown key"),
        (("modle=unet",), r"modle: expected one of .* \(did you mean model\?\); found an unknown key"),
        (("data.rot=x",), r"data.rot: expected one of root, .* \(did you mean root\?\); found an unknown key"),
        (
            ("+optimizer.foo=1",),
            "optimizer.foo: expected an argument of torch.optim.Adam: lr, .*; found an unknown name",
        ),
        (("+new=1",), "new: expected one of seed, .*; found an unknown key"),
        (("model.decoder_widths={a:1}",), "model.decoder_widths={a:1}: expected a value of the kind .*"),
        (("=1",), "the command line: expected key=value; found an error of Hydra .*"),
        (("trainer.devices=0",), "trainer: expected settings with which pytorch_lightning.Trainer works; found .*"),
        (("+trainer.max_time=abc",), "trainer.max_time: expected null, since .*; found abc"),
        (("minutes=abc",), "minutes: expected a number, greater than 0, or null; found abc"),
        (("minutes=0",), "minutes: expected a number, greater than 0, or null; found 0"),
        (("trainer.max_epochs=-1",), "trainer.max_epochs: expected at least 1; .*"),
        (("data.fold=4",), r"data.fold: expected one of 0 to 3 \(data.folds=4\); found 4"),
        (("data.preprocess.window=[200,-100]",), r"data.preprocess.window: expected \[lower, upper\] in HU; found .*"),
        (("augment=scanner", "augment.gamma=[2,1]"), r"augment.gamma: expected \[lowest, highest\]; found \[2, 1\]"),
        (
            ("augment=scanner_progressive", "data.preprocess.size=128"),
            "augment.crop: expected at most the images' side, 128 px; found 192",
        ),
        (
            ("augment=scanner_progressive", "augment.crop=64", "data.preprocess.size=128"),
            "augment.crop: expected null with augment.stages, which have the sides of the crops; found 64",
        ),
        (
            ("weights=vgg16.pth", "init_from=packaged"),
            "weights: expected null with init_from=packaged, whose weights would replace these; found vgg16.pth",
        ),
        (
            ("baseline=true", "foreground=liver"),
            "baseline: expected false with foreground=liver, since the threshold marks lesions; found true",
        ),
        (
            ("callbacks.best.monitor=val/loss",),
            "callbacks.best.mode: expected min, since val/loss chooses the checkpoint; found max",
        ),
        (("~callbacks.timer",), "callbacks: expected Timer, .*; found no Timer"),
        (("model=basic_unet", "decoder=deconv"), "decoder=deconv: expected a model with an exchangeable decoder .*"),
    ],
)
@pytest.mark.hostile
def test_a_wrong_setting_of_train_is_one_message_and_writes_nothing(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    message = failed_command("train", *arguments, cwd=tmp_path)
    assert re.fullmatch(f"error: {told}", message), message
    assert list(tmp_path.iterdir()) == []
