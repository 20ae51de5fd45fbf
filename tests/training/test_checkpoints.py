import pickle
from pathlib import Path

import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint

from lits_seg.common.errors import InputError
from lits_seg.training.checkpoints import load_module, read_checkpoint, require_same_model


def test_loaded_network_is_the_saved_one(tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "a.ckpt")
    loaded = load_module(tmp_path / "a.ckpt")
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(loaded(images), module(images))
    assert torch.equal(loaded.loss.weights, module.loss.weights)
    assert not loaded.training


def test_other_architecture_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    require_same_model(tmp_path / "a.ckpt", SETTINGS["model"])
    with pytest.raises(InputError, match=r"a\.ckpt: expected .*innermost_width=16.*found innermost_width=8"):
        require_same_model(tmp_path / "a.ckpt", {**SETTINGS["model"], "innermost_width": 16})


class Payload:
    """Creates a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_code_in_a_file_is_never_run(kind: str, tmp_path: Path) -> None:
    bait = Payload(tmp_path / "ran")
    with (tmp_path / "a.ckpt").open("wb") as file:
        (torch.save if kind == "torch" else pickle.dump)({"hyper_parameters": SETTINGS, "state_dict": bait}, file)
    with pytest.raises(InputError, match=r"a\.ckpt: expected a checkpoint of lits_seg"):
        read_checkpoint(tmp_path / "a.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "lits_segments.Net", "torch.hub.load"])
def test_classes_from_elsewhere_are_never_called(target: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", loss={"nested": [{"_target_": target, "command": f"touch {tmp_path}/ran"}]})
    with pytest.raises(InputError, match=target):
        load_module(tmp_path / "a.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["through a trusted module", "through a resolver"])
def test_functions_of_others_are_not_reached_by_a_detour(kind: str, tmp_path: Path) -> None:
    loss = {
        "through a trusted module": {
            "_target_": "lits_seg.training.checkpoints.Path.touch",
            "_args_": [f"{tmp_path}/ran"],
        },
        "through a resolver": {
            "_target_": "torch.nn.Identity",
            "x": f"${{oc.create:{{_target_:pathlib.Path.touch,_args_:[{tmp_path}/ran]}}}}",
        },
    }[kind]
    save_checkpoint(tmp_path / "a.ckpt", loss=loss)
    with pytest.raises(InputError, match=r"a\.ckpt: expected"):
        load_module(tmp_path / "a.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {}, "hyper_parameters": [1]},
        {"state_dict": {}, "hyper_parameters": {key: SETTINGS[key] for key in ("model", "loss", "preprocess")}},
        {"state_dict": {}, "hyper_parameters": {**SETTINGS, "extra": 1}},
        {"state_dict": "text", "hyper_parameters": SETTINGS},
    ],
    ids=["settings a list", "settings missing", "settings unknown", "weights a text"],
)
def test_checkpoints_with_odd_content_are_named(content: dict, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt: expected"):
        load_module(tmp_path / "a.ckpt")


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut off"])
def test_files_that_are_no_checkpoints(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.ckpt: expected a checkpoint of lits_seg"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_missing_and_foreign_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_checkpoint(tmp_path / "none.ckpt")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="another program"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_weights_that_do_not_fit_their_settings(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt", model={**SETTINGS["model"], "innermost_width": 16})
    with pytest.raises(InputError, match="weights that fit"):
        load_module(tmp_path / "a.ckpt")
