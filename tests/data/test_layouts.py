import os
import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.dicom_series import write_series
from helpers.volumes import anatomy, write_case

from lits_seg.common.errors import InputError
from lits_seg.data.file_names import natural, patient_name, stem
from lits_seg.data.layouts import Case, find_cases, find_cts, find_masks


def write_mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(anatomy(0)[1], np.eye(4)), path)


def test_find_cases_lits_in_split_folders_in_order_of_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        write_case(tmp_path / f"part{number % 2}", str(number), *anatomy(number))
    assert [case.name for case in find_cases(tmp_path)] == ["2", "9", "10"]


def test_find_cases_msd(tmp_path: Path) -> None:
    image, label = (nib.Nifti1Image(array, np.eye(4)) for array in anatomy(0))
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / folder).mkdir()
    for number in (12, 3):
        nib.save(image, tmp_path / "imagesTr" / f"liver_{number}.nii.gz")
        nib.save(label, tmp_path / "labelsTr" / f"liver_{number}.nii.gz")
    (tmp_path / "imagesTr" / "._liver_3.nii.gz").write_bytes(b"left by an archiver")
    assert find_cases(tmp_path) == [
        Case(name, tmp_path / "imagesTr" / f"{name}.nii.gz", tmp_path / "labelsTr" / f"{name}.nii.gz")
        for name in ("liver_3", "liver_12")
    ]


@pytest.mark.parametrize("content", ["missing", "empty", "twice"])
def test_bad_folders_are_named(content: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if content != "missing":
        root.mkdir()
    if content == "twice":
        for folder in ("a", "b"):
            write_case(root / folder, "0", *anatomy(0))
    with pytest.raises(InputError, match=r"root.*expected.*found"):
        find_cases(root)


def test_unpaired_files_are_gathered_and_the_others_found(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        write_case(tmp_path, str(number), *anatomy(number))
    (tmp_path / "volume-0.nii.gz").unlink()
    (tmp_path / "segmentation-2.nii.gz").unlink()
    errors: list[InputError] = []
    assert [case.name for case in find_cases(tmp_path, errors)] == ["1"]
    assert [str(error).split(": ")[0] for error in errors] == [
        str(tmp_path / "segmentation-0.nii.gz"),
        str(tmp_path / "volume-2.nii.gz"),
    ]


def test_patients_of_lits_may_have_any_name(tmp_path: Path) -> None:
    root, names = tmp_path / "root", ["1.2.840", "Anna B. (2)", "a\nb", "pat-3", "Ü"]
    for name in names:
        write_case(root, name, *anatomy(0))
    write_series(root / "volume-P1 CT 5.0", anatomy(0, shape=(8, 8, 2))[0])
    write_mask(root / "segmentation-P1 CT 5.0.nii")
    names.append("P1 CT 5.0")
    assert sorted(case.name for case in find_cases(root)) == sorted(names)
    # The masks of predict are masks of the same patients.
    assert find_cts(root).keys() == find_masks(root).keys()
    assert sorted(map(patient_name, find_cts(root))) == sorted(names)


def test_no_file_of_lits_is_ignored_without_a_word(tmp_path: Path) -> None:
    write_case(tmp_path, "1", *anatomy(1))
    for name in ("segmentation-1 (copy).nii", "segmentation-.nii", "volume-.nii", "volume-a.b.nii.gz"):
        write_mask(tmp_path / name)
    (tmp_path / "volume-batch 2").symlink_to("/nowhere")
    errors: list[InputError] = []
    assert [case.name for case in find_cases(tmp_path, errors)] == ["1"]
    assert sorted(str(error).removeprefix(f"{tmp_path}/").split(";")[0] for error in errors) == [
        "segmentation-.nii: expected a volume of the same name",
        "segmentation-1 (copy).nii: expected a volume of the same name",
        "volume-.nii: expected a segmentation of the same name",
        "volume-a.b.nii.gz: expected a segmentation of the same name",
        "volume-batch 2: expected a file or a folder",
    ]


def test_composed_and_decomposed_letters_are_one_name(tmp_path: Path) -> None:
    name, decomposed = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))
    lits, msd = tmp_path / "lits", tmp_path / "msd"
    for path in (msd / "imagesTr" / f"{decomposed}.nii.gz", msd / "labelsTr" / f"{name}.nii.gz"):
        write_mask(path)
    for path in (lits / f"volume-{name}.nii.gz", lits / f"segmentation-{decomposed}.nii.gz"):
        write_mask(path)
    write_series(tmp_path / "study" / decomposed / "CT", anatomy(0, shape=(8, 8, 2))[0])
    assert [case.name for root in (lits, msd) for case in find_cases(root)] == [name, name]
    assert find_cts(lits).keys() == find_masks(lits).keys() == {f"segmentation-{name}"}
    assert find_cts(msd).keys() == find_masks(msd).keys() == {name}
    assert list(find_cts(tmp_path / "study")) == [f"{name}_CT"]


def test_a_folder_with_a_series_is_a_volume_and_one_with_volumes_is_not(tmp_path: Path) -> None:
    write_case(tmp_path / "volume-batch1", "0", *anatomy(0))
    (tmp_path / "volume-1").mkdir()
    (tmp_path / "volume-1" / "IM0001").write_bytes(b"")
    write_case(tmp_path, "1", *anatomy(0))
    (tmp_path / "volume-1.nii.gz").unlink()
    assert [case.image for case in find_cases(tmp_path)] == [
        tmp_path / "volume-batch1" / "volume-0.nii.gz",
        tmp_path / "volume-1",
    ]


def test_masks_are_named_after_their_ct(tmp_path: Path) -> None:
    hu = anatomy(0)[0][:, :, :2]
    for name in (
        "lits/a/volume-1.nii",
        "lits/b/test-volume-2.nii.gz",
        "lits/b/segmentation-1.nii",
        "msd/imagesTr/l.nii.gz",
        "msd/labelsTr/l.nii.gz",
        "plain/ct.nii.gz",
        "plain/segmentation-0.nii",
        "plain/.hidden.nii",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("lits/volume-3", "series", "several/one", "several/two"):
        write_series(tmp_path / name, hu)
    assert find_cts(tmp_path / "lits") == {
        "segmentation-1": tmp_path / "lits/a/volume-1.nii",
        "test-segmentation-2": tmp_path / "lits/b/test-volume-2.nii.gz",
        "segmentation-3": tmp_path / "lits/volume-3",
    }
    assert find_cts(tmp_path / "msd") == {"l": tmp_path / "msd/imagesTr/l.nii.gz"}
    assert find_cts(tmp_path / "plain") == {"ct": tmp_path / "plain/ct.nii.gz"}
    assert find_cts(tmp_path / "plain/ct.nii.gz") == {"ct": tmp_path / "plain/ct.nii.gz"}
    for name in ("plain/volume-4.nii", "plain/patient"):  # many of either, together
        (tmp_path / name).touch() if name.endswith(".nii") else write_series(tmp_path / name, hu)
    assert list(find_cts(tmp_path / "plain")) == ["ct", "patient", "segmentation-4"]
    assert find_cts(tmp_path / "series") == {"series": tmp_path / "series"}
    assert find_cts(tmp_path / "several") == {"one": tmp_path / "several/one", "two": tmp_path / "several/two"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([], "no such file or folder"),
        (["notes.txt"], "found none"),
        (["a.nii", "a.nii.gz"], "a.nii.gz: expected CTs of different patients.*as .*/a.nii"),
        (["5.nii", "volume-5.nii"], "volume-5.nii: expected CTs of different patients.*as .*/5.nii"),
    ],
)
def test_folders_without_a_usable_ct(files: list[str], told: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / "cts").mkdir(exist_ok=True)
        (tmp_path / "cts" / name).touch()
    with pytest.raises(InputError, match=told):
        find_cts(tmp_path / "cts")


def test_a_series_in_the_current_folder_is_named_by_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_series(tmp_path / "series", anatomy(0, shape=(8, 8, 2))[0])
    (tmp_path / "series" / "inside").mkdir()
    for folder, path in (("series", "."), ("series/inside", "..")):
        monkeypatch.chdir(tmp_path / folder)
        assert find_cts(path) == {"series": Path(path)}


def test_find_masks_lits_msd_and_plain_folders(tmp_path: Path) -> None:
    for name in ("lits/part 1/segmentation-10.nii", "lits/part 2/segmentation-9.nii.gz", "lits/volume-9.nii"):
        write_mask(tmp_path / name)
    for name in ("msd/labelsTr/liver_1.nii.gz", "msd/imagesTr/liver_1.nii.gz", "msd/imagesTr/liver_2.nii.gz"):
        write_mask(tmp_path / name)
    for name in ("plain/a.nii", "plain/b.nii.gz", "plain/probability/a.nii.gz", "plain/.c.nii.gz"):
        write_mask(tmp_path / name)
    (tmp_path / "plain" / "a.json").write_text("{}")
    assert list(find_masks(tmp_path / "lits")) == ["segmentation-10", "segmentation-9"]
    assert list(find_masks(tmp_path / "msd")) == ["liver_1"]
    assert list(find_masks(tmp_path / "plain")) == ["a", "b"]


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda folder: None, "no such file or folder"),
        (lambda folder: folder.mkdir(), "found none"),
        (
            lambda folder: [write_mask(folder / name) for name in ("a.nii", "a.nii.gz")],
            "expected masks of different patients; found the same patient as .*a.nii",
        ),
    ],
)
def test_folders_without_usable_masks(prepare: object, told: str, tmp_path: Path) -> None:
    prepare(tmp_path / "masks")
    with pytest.raises(InputError, match=told):
        find_masks(tmp_path / "masks")


def test_masks_of_all_names_are_found_and_cts_among_them_are_not(tmp_path: Path) -> None:
    masks = {
        "segmentation-0": "segmentation-0.nii.gz",
        "Patient Müller #1": "Patient Müller #1.nii.gz",
        "UPPER": "UPPER.NII.GZ",
        "segmentation-1": "part/segmentation-1.nii",
    }
    for name in (*masks.values(), "volume-0.nii", "test-volume-3.nii.gz", "part/b.nii", "part/volume-1.nii"):
        write_mask(tmp_path / name)
    write_series(tmp_path / "series", anatomy(0, shape=(8, 8, 2))[0])
    assert find_masks(tmp_path) == {name: tmp_path / path for name, path in masks.items()}


@pytest.mark.parametrize(
    "names", [("5.nii.gz", "segmentation-5.nii"), ("old/segmentation-5.nii", "segmentation-5.nii")]
)
def test_two_masks_of_one_patient_are_both_named(names: tuple[str, str], tmp_path: Path) -> None:
    for name in names:
        write_mask(tmp_path / name)
    with pytest.raises(InputError, match=f"{names[1]}: expected masks of different patients; found .*{names[0]}"):
        find_masks(tmp_path)


def test_linked_parts_are_found_and_each_patient_counts_once(tmp_path: Path) -> None:
    root, disk = tmp_path / "LiTS", tmp_path / "disk"
    for number in range(2):
        write_case(root / "batch1", str(number), *anatomy(number))
        write_case(disk / "batch2", str(number + 2), *anatomy(number))
    (root / "batch2").symlink_to(disk / "batch2")
    (root / "again").symlink_to(disk)
    (disk / "loop").symlink_to(root)
    (root / "single").mkdir()
    for kind in ("volume", "segmentation"):
        (root / "single" / f"{kind}-0.nii.gz").symlink_to(root / "batch1" / f"{kind}-0.nii.gz")
    assert [case.name for case in find_cases(root)] == ["0", "1", "2", "3"]
    (root / "0.nii.gz").symlink_to(root / "batch1" / "volume-0.nii.gz")  # a second name of the CT
    assert sorted(map(patient_name, find_cts(root))) == ["0", "1", "2", "3"]
    (root / "0.nii.gz").unlink()
    assert sorted(find_masks(root)) == sorted(find_cts(root)) == [f"segmentation-{number}" for number in range(4)]


def test_broken_links_are_named_and_the_others_found(tmp_path: Path) -> None:
    write_case(tmp_path, "1", *anatomy(1))
    write_case(tmp_path, "2", *anatomy(2))
    (tmp_path / "batch2").symlink_to("/nowhere")
    (tmp_path / "volume-2.nii.gz").unlink()
    (tmp_path / "volume-2.nii.gz").symlink_to("/nowhere/volume-2.nii.gz")
    for find in (find_cases, find_masks):
        with pytest.raises(InputError, match="batch2: expected a file or a folder; found a broken link to /nowhere"):
            find(tmp_path)
    errors: list[InputError] = []
    assert [case.name for case in find_cases(tmp_path, errors)] == ["1", "2"]  # reading the second names its link
    assert [str(error).split(": ")[0] for error in errors] == [str(tmp_path / "batch2")]
    assert list(find_cts(tmp_path)) == ["batch2", "segmentation-1", "segmentation-2"]


def test_series_in_deeper_folders_are_named_by_the_folders_on_the_way(tmp_path: Path) -> None:
    hu = anatomy(0)[0][:, :, :2]
    for name in ("P1/S1/CT 5.0", "P1/S2/CT 5.0", "P2/S1/CT 5.0", "plain", "P1_S1/CT 5.0"):
        write_series(tmp_path / name, hu)
    write_series(tmp_path / "P2/S1/report", hu, lambda i, dataset: setattr(dataset, "Modality", "SR"))
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "P1" / "README.txt").touch()
    found = find_cts(tmp_path)
    (twice,) = [name for name in found if name.startswith("P1_S1_CT 5.0-")]
    assert found.pop(twice) == tmp_path / "P1_S1/CT 5.0"
    assert found == {
        "P1_S1_CT 5.0": tmp_path / "P1/S1/CT 5.0",
        "P1_S2_CT 5.0": tmp_path / "P1/S2/CT 5.0",
        "P2_S1_CT 5.0": tmp_path / "P2/S1/CT 5.0",
        "plain": tmp_path / "plain",
    }
    assert find_cts(tmp_path / "P2/S1/report") == {"report": tmp_path / "P2/S1/report"}  # reading names the report


def test_upper_case_endings_are_accepted(tmp_path: Path) -> None:
    write_case(tmp_path, "0", *anatomy(0))
    for kind in ("volume", "segmentation"):
        (tmp_path / f"{kind}-0.nii.gz").rename(tmp_path / f"{kind}-0.NII.GZ")
    assert [case.name for case in find_cases(tmp_path)] == ["0"]
    assert list(find_masks(tmp_path)) == list(find_cts(tmp_path)) == ["segmentation-0"]


def test_probability_maps_are_no_masks(tmp_path: Path) -> None:
    for name in ("segmentation-0.nii.gz", "probability/segmentation-0.nii.gz"):
        write_mask(tmp_path / name)
    assert find_masks(tmp_path) == {"segmentation-0": tmp_path / "segmentation-0.nii.gz"}


@pytest.mark.hostile
def test_names_of_any_bytes_and_length_give_masks_that_can_be_written(tmp_path: Path) -> None:
    names = [b"\xff\xfe", b"a\nb", b"-x", b"#&<'\"", "²".encode(), b"n" * 251, "患".encode() * 83]
    for name in names:
        (tmp_path / os.fsdecode(name + b".nii")).touch()
    found = find_cts(tmp_path)
    assert len(found) == len(names)
    for name in found:
        (tmp_path / f"{name}.nii.gz").touch()
    assert sorted(map(natural, found))
    assert stem(tmp_path / os.fsdecode(b"\xff.nii.gz")) == os.fsdecode(b"\xff")


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "file/below", "loop"])
def test_paths_that_cannot_exist_are_one_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for find in (find_cases, find_masks):
        with pytest.raises(InputError):
            find(tmp_path / name)
    if name != "loop":  # reading the CT names the loop
        with pytest.raises(InputError):
            find_cts(tmp_path / name)


def test_masks_next_to_labels_of_msd_are_named(tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    for name in ("labelsTr/0.nii", "labelsTr/segmentation-1.nii", "probability/segmentation-1.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(find_masks(tmp_path)) == ["0", "segmentation-1"]
    (tmp_path / "segmentation-2.nii").touch()
    with pytest.raises(InputError, match=r"segmentation-2\.nii.*expected masks in labelsTr/ only"):
        find_masks(tmp_path)


def test_masks_of_lits_are_found_in_folders_of_any_name(tmp_path: Path) -> None:
    write_mask(tmp_path / "Task03_Liver" / "labelsTr" / "segmentation-1.nii")
    assert list(find_masks(tmp_path)) == ["segmentation-1"]


def test_a_broken_link_is_an_error_unless_it_is_a_test_volume(tmp_path: Path) -> None:
    write_case(tmp_path, "0", *anatomy(0))
    (tmp_path / "test-volume-1.nii").symlink_to("nowhere")
    assert [case.name for case in find_cases(tmp_path)] == ["0"]
    (tmp_path / "test-set").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"test-set.*broken link"):
        find_cases(tmp_path)
