"""Jobs of a sweep at the same time. A file of its own, so that two processes share the longest tests."""

import os
from pathlib import Path

import pytest
from helpers.commands import run_process
from helpers.sweeps import CPU, results


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_jobs_side_by_side_have_their_own_gpus_and_their_part_of_the_cores(
    jobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There need be no GPU: the trainer is told to use the CPU, after the devices were dealt.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "if 'hydra.run.dir' in ' '.join(sys.orig_argv):\n"
        "    place = [os.environ.get(name) for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')]\n"
        "    with pathlib.Path(os.environ['PLACES']).open('a') as file: print(*place, file=file)\n"
    )
    monkeypatch.setattr(
        "helpers.commands.ENVIRONMENT",
        {
            **{key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"},
            "CUDA_VISIBLE_DEVICES": "4,5,6,7",
            "PLACES": str(tmp_path / "places"),
            "PYTHONPATH": os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", ""))),
        },
    )
    decoders = ",".join(("subpixel", "deconv", "bilinear")[:jobs])
    arguments = (*CPU, "trainer.max_epochs=1", "sweep=parallel", f"decoder={decoders}")
    run_process("train", "-m", *arguments, "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", cwd=tmp_path)
    assert len(results(tmp_path / "runs" / "parallel")) == jobs
    places = [line.split() for line in (tmp_path / "places").read_text().splitlines()]
    assert len(places) == jobs
    assert {gpus for gpus, _ in places[:2]} == {"4", "5"}
    assert all(gpu in ("4", "5") for gpu, _ in places[2:])
    assert {threads for _, threads in places} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}
