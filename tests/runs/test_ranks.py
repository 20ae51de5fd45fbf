"""What ranks that start at the same time do: the same. tests/sweeps/test_slurm.py starts real ones."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import ENVIRONMENT, SMOKE, failed_command, start_command

from lits_seg.runs.ranks import first_rank_trains, followed

SLURM = {
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_RESTART_COUNT": "1",
}


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("trains", "earlier"), [(True, "7-0-0 end\n"), (False, "6-0-1 train\n")])
def test_others_wait_for_what_the_first_rank_decides(trains: bool, earlier: str, slurm: None, tmp_path: Path) -> None:
    (tmp_path / ".ranks").write_text(earlier)  # of another start or job
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(first_rank_trains, tmp_path)
        time.sleep(0.2)
        assert not other.done()
        with followed(tmp_path) as let_train:
            if trains:
                let_train()
                assert other.result(timeout=5)
        assert other.result(timeout=5) is trains


def test_others_end_if_the_first_rank_fails(slurm: None, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another run"), followed(tmp_path):
        raise ValueError("another run")
    assert not first_rank_trains(tmp_path)


def test_ranks_that_lightning_starts_do_not_wait(tmp_path: Path) -> None:
    with followed(tmp_path) as let_train:
        let_train()
        assert first_rank_trains(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "result.json").touch()
    assert not first_rank_trains(tmp_path)


def test_the_second_rank_of_slurm_ends_with_the_first_one(tmp_path: Path) -> None:
    """It would otherwise begin to train, and wait for the first rank."""
    run = tmp_path / "runs" / "done"
    run.mkdir(parents=True)
    environment = {**ENVIRONMENT, **SLURM, "SLURM_PROCID": "1"}
    second = start_command("train", *SMOKE, "debug=fast", "name=done", cwd=tmp_path, env=environment)
    (run / ".ranks").write_text("7-0-1 end\n")
    out, err = second.communicate(timeout=300)
    assert (second.returncode, out) == (0, ""), err
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # neither volumes nor slices were made


def test_the_first_rank_of_torchrun_does_not_wait(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Torchrun ends the other ranks if one fails."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = tmp_path / "runs" / "held"
    run.mkdir(parents=True)
    with FileLock(run / ".lock"):
        told = failed_command("train", *SMOKE, "name=held", cwd=tmp_path)
    assert told.endswith("held: expected a run that no other process works on; found another process that does")
