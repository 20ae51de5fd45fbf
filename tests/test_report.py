"""The report command, as a user runs it, on run folders as training leaves them."""

import base64
import csv
import io
import re
import tarfile
from pathlib import Path

import pytest
from helpers.commands import SMOKE, failed_command, run_command
from helpers.run_folders import case, write_run
from PIL import Image

FILES = ("report.html", "report.md", "report.csv", "pairs.csv", "cases.csv", "froc.csv")
NETWORKS = ("dsc_unet, subpixel", "unet, deconv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks of two folds and two patients each, a run that failed and one that was cut off."""
    root = tmp_path_factory.mktemp("report")
    for network in NETWORKS:
        for fold in (0, 1):
            cases = [case(f"{fold}{i}", missed=2 * i + 3 * (network == "unet, deconv"), wrong=i) for i in (1, 2)]
            changed = {"train_seconds": 10.0} if network == "dsc_unet, subpixel" else {}
            dirty = {"git_dirty": fold == 1}
            write_run(root / "runs" / f"{network[:3]}{fold}", cases, network, fold, versions=dirty, **changed)
    for name in ("cut_off", "failed"):
        write_run(root / "runs" / name, cases)
        (root / "runs" / name / "result.json").unlink()
    (root / "runs" / "failed" / "failed.txt").write_text("RuntimeError: <out> of memory\n")
    return root


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    return run_command("report", "runs=runs", "output=out", cwd=folder)


@pytest.fixture(scope="module")
def page(folder: Path, shown: str) -> str:
    return (folder / "out" / "report.html").read_text()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_markdown_is_printed_written_and_lines_up(folder: Path, shown: str) -> None:
    text = (folder / "out" / "report.md").read_text()
    assert text.strip() in shown
    tables = re.findall(r"(?:^\|.*\n?)+", text, flags=re.MULTILINE)
    assert len(tables) == 5  # scores, lesions by size, cost, differences, claims
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1
    assert "phantom (synthetic CT), 128 px, 2 folds (split seed 0)" in text
    assert "Research use only." in text
    assert "- cut_off: unfinished" in text
    assert "- failed: failed (RuntimeError: <out> of memory)" in text
    assert "warning: 2 of 4 runs were made with uncommitted changes." in text


def test_csv_has_a_row_a_variant_a_difference_and_a_patient_and_run(folder: Path, shown: str) -> None:
    variants, pairs, cases = (rows(folder / "out" / name) for name in ("report.csv", "pairs.csv", "cases.csv"))
    assert [row["variant"] for row in variants] == list(NETWORKS)
    light = variants[0]
    assert (light["folds"], light["of_folds"], light["seeds"], light["patients"]) == ("0 1", "2", "0", "4")
    assert (light["parameters"], light["cpu_ms"], light["cpu_threads"], light["gpu_ms"]) == ("2246365", "12.5", "2", "")
    assert float(light["dice_per_case_low"]) <= float(light["dice_per_case"]) <= float(light["dice_per_case_high"])
    assert {"lesion_precision", "lesion_recall", "dice_global", "jaccard", "paper_symbols"} <= light.keys()
    assert {row["variant"] for row in pairs} == {"dsc_unet, subpixel"}
    (dice,) = (row for row in pairs if row["score"] == "lesion/dice_per_case")
    assert float(dice["difference"]) == pytest.approx(float(dice["value"]) - float(dice["baseline_value"]))
    assert (dice["wins"], dice["losses"], dice["ties"], dice["patients"]) == ("4", "0", "0", "4")
    assert [(row["run"], row["case"]) for row in cases[:4]] == [(f"dsc{f}", f"{f}{i}") for f in (0, 1) for i in (1, 2)]
    mean = sum(float(row["lesion_dice"]) for row in cases[:4]) / 4
    assert float(light["dice_per_case"]) == pytest.approx(mean)


def test_page_needs_nothing_else_and_shows_pictures(page: str) -> None:
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", page)
    assert not re.search(r"<link|@import|\{\{", page)
    assert page.count("<svg") == 2  # Dice against cost, and learning curves
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 6  # best, median and worst of both networks
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "JPEG"
    assert page.count("<details") == 2


def test_page_says_what_a_reader_must_know(page: str) -> None:
    assert "<title>Comparison of runs on synthetic CT</title>" in page
    assert "Research use only." in page
    assert "RuntimeError: &lt;out&gt; of memory" in page
    assert "aaaaaaaaaaaa (changed)" in re.sub(r"<small>", " ", page)
    for network in NETWORKS:
        assert network in page
    for verdict in ("13.81 ×", "9.00 ×", "confirmed"):
        assert verdict in page


def test_files_go_to_the_runs_themselves_and_another_baseline_can_be_chosen(folder: Path) -> None:
    run_command("report", "runs=runs", "baseline=[dsc_unet,subpixel]", cwd=folder)
    assert all((folder / "runs" / name).exists() for name in FILES)
    assert {row["baseline"] for row in rows(folder / "runs" / "pairs.csv")} == {"dsc_unet, subpixel"}


def test_one_run_of_one_patient_is_a_report_too(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "only", [case("1", missed=20)])
    (tmp_path / "runs" / "only" / "overlays" / "1.png").unlink()
    text = run_command("report", "runs=runs", cwd=tmp_path)
    assert "nothing to compare it with" in text
    assert "| 0 of 2 |" in text
    assert "no picture" in (tmp_path / "runs" / "report.html").read_text()
    assert rows(tmp_path / "runs" / "pairs.csv") == []


def test_runs_of_the_same_patients_from_several_checkpoints_are_variants(tmp_path: Path) -> None:
    for fold in (0, 1):
        for start in ("a.ckpt", "runs/b/last.ckpt", None):
            name = f"{Path(start or 'none').stem}{fold}"
            settings = {"ckpt_path": start}
            write_run(tmp_path / "runs" / name, [case(str(fold))], "unet, deconv", fold, settings=settings)
        # Folds that continue from a checkpoint each stay one variant.
        settings = {"ckpt_path": f"{fold}.ckpt"}
        write_run(tmp_path / "runs" / f"light{fold}", [case(str(fold))], "dsc_unet, subpixel", fold, settings=settings)
    run_command("report", "runs=runs", cwd=tmp_path)
    assert [(row["variant"], row["folds"]) for row in rows(tmp_path / "runs" / "report.csv")] == [
        ("dsc_unet, subpixel", "0 1"),
        *((f"unet, deconv, ckpt path {start}", "0 1") for start in ("a.ckpt", "none", "runs/b/last.ckpt")),
    ]


@pytest.mark.parametrize("mode", ["w:xz", "w:gz", "w"])
def test_an_archive_gives_the_same_report_as_its_folder(mode: str, folder: Path, shown: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "packed", mode) as tar:
        tar.add(folder / "runs", "the runs")
    before = set(tmp_path.iterdir())
    assert run_command("report", "runs=packed", "output=out", cwd=tmp_path).splitlines()[:-1] == shown.splitlines()[:-1]
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (folder / "out" / name).read_bytes(), name
    run_command("report", "runs=packed", cwd=tmp_path)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"out", *FILES}


def test_an_archive_without_finished_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "runs.tar", "w") as tar:
        tar.add(tmp_path / "empty", "runs")
    told = failed_command("report", "runs=runs.tar", cwd=tmp_path)
    assert "runs.tar: expected a folder with finished runs (result.json); found none" in told


def test_unusable_input_is_named_and_nothing_written(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "open", [case("1")])
    (tmp_path / "runs" / "open" / "result.json").unlink()
    assert "found 1 unfinished (open)" in failed_command("report", "runs=runs", "output=out", cwd=tmp_path)
    assert "margin: expected" in failed_command("report", "runs=runs", "margin=-1", cwd=tmp_path)
    told = failed_command("report", "runs=nowhere", cwd=tmp_path)
    assert (
        told
        == "error: nowhere: expected a folder with finished runs, or an archive of one; found no such file or folder"
    )
    for name in ("one", "two"):
        write_run(tmp_path / "runs" / name, [case("1")])
    assert "one: tested 1 with seed 0 as two did" in failed_command("report", "runs=runs", "output=out", cwd=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_trained_run_is_read(tmp_path: Path) -> None:
    run_command("train", *SMOKE, "trainer.max_epochs=1", "name=trained", "logger=csv", cwd=tmp_path)
    text = run_command("report", "runs=runs", cwd=tmp_path)
    assert "dsc_unet, subpixel" in text
    assert "smoke (synthetic CT: cases 8, seed 0, size 64, slices 12), 64 px, 4 folds" in text
    page = (tmp_path / "runs" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2  # of two test patients, the median is the best
    (tested,) = rows(tmp_path / "runs" / "report.csv")
    with (tmp_path / "runs" / "trained" / "test_cases.csv").open() as file:
        scored = [float(row["lesion_dice"]) for row in csv.DictReader(file)]
    assert float(tested["dice_per_case"]) == pytest.approx(sum(scored) / 2)
