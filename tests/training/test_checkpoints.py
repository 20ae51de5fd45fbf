import os
import pickle
import resource
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import SETTINGS, save_checkpoint, with_model
from helpers.commands import failed_command

from lits_seg.common.errors import InputError
from lits_seg.training.checkpoints import fill_weights, load_module, read_checkpoint, require_same_model
from lits_seg.training.module import LesionModule


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


def test_fine_tuning_starts_from_the_layers_that_fit_and_names_the_others(tmp_path: Path) -> None:
    before = save_checkpoint(tmp_path / "a.ckpt", seed=1).network.state_dict()
    torch.manual_seed(2)
    module = LesionModule(**with_model(out_channels=3))
    told = fill_weights(module, tmp_path / "a.ckpt")
    after = module.network.state_dict()
    new = [name for name, values in after.items() if values.shape != before[name].shape]
    assert new
    assert all(torch.equal(values, before[name]) for name, values in after.items() if name not in new)
    fitting, _, others = told.partition("; new: ")
    assert fitting.endswith(f"a.ckpt: {len(after) - len(new)} of {len(after)} weights are the network's start")
    assert others.split(", ") == list(dict.fromkeys(name.rpartition(".")[0] for name in new))
    wider = LesionModule(**with_model(encoder_widths=[4, 4, 8, 16], innermost_width=16, decoder_widths=[16, 16, 8, 8]))
    told = fill_weights(wider, tmp_path / "a.ckpt")
    wanted = {name: values.shape for name, values in wider.network.state_dict().items()}
    layers = dict.fromkeys(
        name.rpartition(".")[0] for name in wanted if name in before and before[name].shape == wanted[name]
    )
    assert told.endswith(f"network's start: {', '.join(layers)}; all others are new")
    same = fill_weights(LesionModule(**SETTINGS), tmp_path / "a.ckpt")
    assert same.endswith(f"{len(after)} of {len(after)} weights are the network's start")


def test_a_start_from_other_images_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, now = (
        {**with_model(in_channels=channels), "preprocess": {**SETTINGS["preprocess"], "equalize": equalize}}
        for channels, equalize in ((1, True), (3, False))
    )
    save_checkpoint(tmp_path / "a.ckpt", settings=before)
    fill_weights(LesionModule(**before), tmp_path / "a.ckpt")
    assert not caplog.records
    fill_weights(LesionModule(**now), tmp_path / "a.ckpt")
    (told,) = (record.getMessage() for record in caplog.records)
    learned, here = (f"data.context={n}, data.preprocess.equalize={on}" for n, on in ((1, "true"), (3, "false")))
    assert told.endswith(f"a.ckpt: learned with {learned}; this run has {here}: the start loses much of its use")


def test_fine_tuning_from_another_network_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    basic = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "features": [4, 4, 4, 4, 4, 4]}
    module = LesionModule(**{**SETTINGS, "model": {**basic, "in_channels": 1, "out_channels": 2}})
    before = {name: values.clone() for name, values in module.state_dict().items()}
    expected = (
        r"a.ckpt: expected a checkpoint with layers of this network \(monai.*BasicUNet\); found lits_seg.*DSCUNet"
    )
    with pytest.raises(InputError, match=expected):
        fill_weights(module, tmp_path / "a.ckpt")
    assert all(torch.equal(values, before[name]) for name, values in module.state_dict().items())


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


@pytest.mark.hostile
@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_weights_that_are_not_finite_end_every_command(command: str, tmp_path: Path, lits: Path) -> None:
    module = save_checkpoint(tmp_path / "a.ckpt")
    state = module.state_dict()
    state["network.logits.weight"][0, 0] = torch.nan
    torch.save({"state_dict": state, "hyper_parameters": dict(module.hparams)}, tmp_path / "a.ckpt")
    volumes = f"input={lits}" if command == "predict" else f"references={lits}"
    told = failed_command(command, "ckpt=a.ckpt", volumes, "output=out", cwd=tmp_path)
    assert "a.ckpt: expected finite weights; found NaN or infinity in network.logits.weight" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (with_model(encoder_widths=[60_000] * 4, innermost_width=60_000), "weights that fit the settings"),
        (
            {**SETTINGS, "preprocess": {**SETTINGS["preprocess"], "size": 60_000}},
            "settings of a network; found .*preprocess.size: ",
        ),
        (
            {
                **SETTINGS,
                "model": {"_target_": "torch.nn.Transformer", "out_channels": 2, "num_encoder_layers": 60_000},
            },
            "settings of a network",
        ),
        (with_model(upsample=5), "settings of a network"),
        (with_model(out_channels="2"), "settings of a network"),
        ({**SETTINGS, "model": {"_target_": "torch.nn.Identity", "out_channels": 2}}, "a network with 2 maps"),
        ({**SETTINGS, "seed": "0"}, "a seed"),
        ({**SETTINGS, "loss": None}, r"settings of a Module \(loss\)"),
    ],
)
def test_settings_take_no_memory_before_they_fit_the_weights(settings: dict, told: str, tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "a.ckpt")
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": settings}, tmp_path / "a.ckpt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=rf"a\.ckpt: expected .*{told}"):
        load_module(tmp_path / "a.ckpt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.hostile
@pytest.mark.parametrize("change", ["reshape", "expand", "sparse", "long", "text", "missing", "extra"])
def test_weights_of_another_kind_are_named(change: str, tmp_path: Path) -> None:
    module = save_checkpoint(tmp_path / "a.ckpt")
    state = dict(module.state_dict())
    name = "network.logits.weight"
    state[name] = {
        "reshape": state[name].flatten(),
        "expand": torch.zeros(1).expand(10**12),
        "sparse": state[name].to_sparse(),
        "long": state[name].long(),
        "text": "text",
    }.get(change, state[name])
    if change == "missing":
        del state[name]
    if change == "extra":
        state["network.extra"] = torch.zeros(1)
    torch.save({"state_dict": state, "hyper_parameters": dict(module.hparams)}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=r"a\.ckpt: expected (weights that fit|a checkpoint of lits_seg)"):
        load_module(tmp_path / "a.ckpt")


@pytest.mark.hostile
@pytest.mark.parametrize("call", ["builtins\nbytearray", "torch\nFloatTensor", "torch.storage\nUntypedStorage"])
def test_a_pickle_takes_no_memory_by_a_number(call: str, tmp_path: Path) -> None:
    # A pickle of 50 bytes that calls the class with 2,000,000,000.
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as file:
        file.writestr("a/data.pkl", b"\x80\x02c" + call.encode() + b"\nJ\x00\x94\x35\x77\x85R.")
    with pytest.raises(InputError, match="another file, which names"):
        read_checkpoint(tmp_path / "a.ckpt")


@pytest.mark.hostile
def test_a_checkpoint_is_never_larger_than_its_file(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    with zipfile.ZipFile(tmp_path / "a.ckpt") as one, zipfile.ZipFile(tmp_path / "b.ckpt", "w", 8) as other:
        for name in one.namelist():
            other.writestr(name, one.read(name))
        other.writestr("a/data/99", bytes(10**7))
    with pytest.raises(InputError, match=r"b\.ckpt: expected .* without compression; found 10\.\d MB when unpacked"):
        read_checkpoint(tmp_path / "b.ckpt")


@pytest.mark.hostile
def test_a_pipe_is_not_waited_for(tmp_path: Path, lits: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for command in ("ckpt=pipe", "model=pipe"):
        told = failed_command("predict", command, f"input={lits}", "output=out", cwd=tmp_path)
        assert "pipe: expected" in told
        assert "found a device or pipe" in told


@pytest.mark.hostile
def test_a_damaged_checkpoint_raises_no_other_error(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    whole = (tmp_path / "a.ckpt").read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(40):
        content = bytearray(whole[: rng.integers(len(whole))] if attempt % 2 else whole)
        if attempt % 2 == 0:  # damage the table at the end, too
            for place in rng.integers(0 if attempt % 4 else len(whole) - 6000, len(whole), 8):
                content[place] = rng.integers(256)
        (tmp_path / "a.ckpt").write_bytes(content)
        with suppress(InputError):  # damage to a number in the weights may not be noticed
            load_module(tmp_path / "a.ckpt")


@pytest.mark.hostile
def test_a_byte_that_changed_on_the_disk_is_found(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.ckpt")
    tensor = next(iter(torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"].values()))
    content = bytearray((tmp_path / "a.ckpt").read_bytes())
    content[content.index(tensor.numpy().tobytes())] ^= 1
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(InputError, match="the checksum of"):
        load_module(tmp_path / "a.ckpt")
