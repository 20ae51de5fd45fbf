from dataclasses import asdict
from pathlib import Path

from lits_seg import __version__
from lits_seg.common.files import sha256
from lits_seg.runs.provenance import provenance, versions


def test_provenance_names_code_checkpoint_and_use(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    found = asdict(provenance(checkpoint))
    assert list(found) == ["research_use_only", "lits_seg", "git_commit", "checkpoint"]
    assert found["research_use_only"].startswith("Research use only.")
    assert found["lits_seg"] == __version__
    assert found["git_commit"] == versions()["git_commit"]
    assert found["checkpoint"] == {"path": str(checkpoint), "sha256": sha256(checkpoint)}


def test_provenance_without_a_checkpoint() -> None:
    assert provenance().checkpoint is None
