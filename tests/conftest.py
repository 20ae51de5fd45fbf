"""Fixtures that several folders of tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.browser import open_chromium
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import run_command
from helpers.volumes import AFFINES, anatomy, write_case


@pytest.fixture(scope="session")
def lits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients, the last two without lesion, one of each affine among them."""
    root = tmp_path_factory.mktemp("lits")
    affines = list(AFFINES.values())
    for number in range(8):
        hu, labels = anatomy(number, lesion=number < 6)
        write_case(root, str(number), hu, labels, affines[number % len(affines)])
    return root


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, lits: Path) -> Path:
    """A folder with a checkpoint for three classes, volumes, and the checkpoint in ``exported`` for both runtimes."""
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(folder / "net.ckpt", settings=with_model(out_channels=3))
    (folder / "lits").symlink_to(lits)
    kinds = ("format=[onnx,openvino]", "precision=[fp32,fp16]")
    few = ("slices=1", "calibration=1", "patients=0", "threads=1")
    run_command("export", "ckpt=net.ckpt", "references=lits", *kinds, *few, cwd=folder)
    return folder


@pytest.hookimpl(tryfirst=True)  # before fixtures train
def pytest_runtest_setup() -> None:
    # Tests run side by side: more threads than cores would only wait for each other. The command of a test before may
    # have asked for more.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """One headless Chromium for all tests of the browser page; they are skipped if there is none."""
    with open_chromium() as driver:
        yield driver
