"""Optional packages: a missing one is named, OpenVINO reports to nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lits_seg.common.dependencies import EXTRAS, missing


def test_openvino_tells_nobody_that_it_is_used(tmp_path: Path) -> None:
    code = "from lits_seg.common.dependencies import import_openvino; print(import_openvino().Core().available_devices)"
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("CI", None)  # where it is set, OpenVINO is silent by itself
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "CPU" in done.stdout
    assert list(tmp_path.iterdir()) == []  # else there is a number for this computer


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_package_is_named_with_its_extra(extra: str) -> None:
    for package in EXTRAS[extra]:
        told = str(missing(ModuleNotFoundError("none", name=package)))
        assert f"{package} (pip install -c constraints.txt '.[{extra}]' in the project's folder)" in told


def test_other_errors_name_no_extra() -> None:
    assert missing(ModuleNotFoundError("none", name="numpy")) is None
    assert missing(ImportError("cannot import name", name="torch")) is None
