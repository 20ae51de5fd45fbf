"""Fixtures that several folders of tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.browser import open_chromium
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
