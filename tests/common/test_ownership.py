"""Files of lits_seg are recognised by their content; a file of other origin, and an input, are never replaced."""

import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy

from lits_seg.common.errors import InputError
from lits_seg.common.ownership import (
    DICOM_SEG,
    MASK,
    PICTURE,
    is_marked,
    json_file,
    require_free,
    require_not_inputs,
    table_file,
    text_file,
)
from lits_seg.data.ct import open_ct
from lits_seg.inference.outputs import write_nifti

pytestmark = pytest.mark.hostile

HU, LABELS = anatomy(0)


def mask(folder: Path, kind: type = nib.Nifti1Image, name: str = "mask.nii.gz") -> Path:
    folder.mkdir(exist_ok=True)
    nib.save(kind(HU.astype(">i2"), AFFINES["oblique"]), folder / "ct.nii")
    with open_ct(folder / "ct.nii") as ct:
        write_nifti(folder / name, LABELS, ct)
    return folder / name


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_mask_is_known_until_somebody_edits_it(kind: type, tmp_path: Path) -> None:
    path = mask(tmp_path, kind)
    assert MASK.wrote(path)
    image = nib.load(path)
    voxels = np.asanyarray(image.dataobj).copy()
    nib.save(kind(voxels, image.affine, image.header), tmp_path / "same.nii")
    assert MASK.wrote(tmp_path / "same.nii")
    voxels[3, 4, 5] = 2 - voxels[3, 4, 5] // 2
    nib.save(kind(voxels, image.affine, image.header), tmp_path / "edited.nii.gz")
    assert is_marked(tmp_path / "edited.nii.gz")
    assert not MASK.wrote(tmp_path / "edited.nii.gz")


def test_a_mask_of_0_1_0_is_known(tmp_path: Path) -> None:
    image = nib.Nifti1Image(LABELS, AFFINES["LPS"])
    image.header["descrip"] = b"lits_seg; research use only"
    nib.save(image, tmp_path / "a.nii.gz")
    assert MASK.wrote(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("size", [0, 1, 100, 347, 352, 900])
def test_damaged_masks_belong_to_nobody(size: int, tmp_path: Path) -> None:
    path = mask(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    assert not MASK.wrote(path)
    (tmp_path / "mask.nii").write_bytes(os.urandom(size))
    assert not MASK.wrote(tmp_path / "mask.nii")


JSON = json_file("report", "lits_seg", "mask")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"lits_seg"', b"\xff\xfe", b'{"lits_seg": "1"}', b'{"a": {"lits_seg": 1, "mask": 2}}'],
)
def test_json_of_others(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert not JSON.wrote(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"a\.json: expected an unused name for the report .*; found a file that"):
        require_free({tmp_path / "a.json": JSON})
    assert (tmp_path / "a.json").read_bytes() == content


def test_deep_json_ends(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    assert not JSON.wrote(tmp_path / "a.json")


def test_texts_tables_and_pictures(tmp_path: Path) -> None:
    for name, kind, ours, other in (
        ("a.json", JSON, json.dumps({"mask": 1, "lits_seg": "0.1.0", "more": 2}), "{}"),
        ("a.csv", table_file("case,lesion_", "program,case,"), "program,case,lesion_dice\n", "case;lesion_dice\n"),
        ("a.html", text_file("page", "<meta a>", "<title>old"), "<title>old page", "<title>new"),
        ("a.png", PICTURE, "\x7fPNG tEXtSoftware\0lits_seg", "tEXtSoftware\0Matplotlib"),
        ("a.dcm", DICOM_SEG, "\x08\x00\x70\x00LO\x08\x00lits_seg", "lits_seg"),
    ):
        path = tmp_path / name
        path.write_text(ours)
        assert kind.wrote(path), name
        require_free({path: kind})
        path.write_text(other)
        assert not kind.wrote(path), name


@pytest.mark.parametrize("obstacle", ["folder", "broken link", "link to another file", "fifo"])
def test_what_is_no_file_of_ours_is_never_replaced(obstacle: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if obstacle == "folder":
        path.mkdir()
    elif obstacle == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("elsewhere.json")
    if obstacle.startswith("link"):
        (tmp_path / "elsewhere.json").write_text("mine")
    with pytest.raises(InputError, match="expected an unused name for the report"):
        require_free({path: JSON})


@pytest.mark.parametrize("where", ["file", "file/below/it", "broken", "broken/below"])
def test_a_folder_that_cannot_be_one(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(InputError, match="expected a folder to write into"):
        require_free({tmp_path / where / "a.json": JSON})


def test_an_input_is_known_by_every_name(tmp_path: Path) -> None:
    ct, folder = tmp_path / "in" / "ct.nii", tmp_path / "in"
    folder.mkdir()
    ct.write_text("voxels")
    (tmp_path / "link").symlink_to(folder)
    os.link(ct, tmp_path / "hard.nii")
    (tmp_path / "soft.nii").symlink_to(ct)
    shutil.copy(ct, tmp_path / "copy.nii")
    for target in (ct, tmp_path / "link" / "ct.nii", folder / ".." / "in" / "ct.nii", tmp_path / "hard.nii"):
        with pytest.raises(InputError, match=r"found an input of this command, .*in/ct\.nii"):
            require_not_inputs([target], [ct, tmp_path / "missing"])
    for target in (tmp_path / "soft.nii", tmp_path / "link"):
        with pytest.raises(InputError, match="found an input of this command"):
            require_not_inputs([target], [ct, folder])
    require_not_inputs([tmp_path / "copy.nii", tmp_path / "new.nii", folder], [ct])
