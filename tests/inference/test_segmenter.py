"""Blocks of slices: each slice with its neighbours, whatever the size of the blocks."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import nibabel as nib
import numpy as np
import pytest

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.inference.segmenter import ModelFacts, NotFiniteError, RunSettings, Segmenter

SLICES = 7


class Neighbours(Segmenter):
    """Gives the numbers of the lowest and of the highest slice around each slice, which the voxels hold."""

    classes = 2

    def __init__(self, context: int) -> None:
        self.context = context

    def __call__(self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        seen = hu[around]
        return seen.min(axis=1).astype(np.uint8), seen.max(axis=1).astype(np.uint8)

    def model(self) -> ModelFacts:
        raise NotImplementedError

    def settings(self) -> RunSettings:
        raise NotImplementedError


@pytest.mark.parametrize("context", [1, 3, 5])
@pytest.mark.parametrize("batch_size", [1, 3, SLICES, 100])
def test_each_slice_has_its_neighbours(context: int, batch_size: int, tmp_path: Path) -> None:
    voxels = np.broadcast_to(np.arange(SLICES, dtype=np.int16), (4, 5, SLICES))
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 2, 1])), tmp_path / "ct.nii")
    with open_ct(tmp_path / "ct.nii") as ct:
        blocks = list(Neighbours(context).segment(ct, batch_size))
    assert [start for start, *_ in blocks] == list(range(0, SLICES, batch_size))
    hu, lowest, highest = (np.concatenate([block[part] for block in blocks])[:, 0, 0].tolist() for part in (1, 2, 3))
    side = context // 2
    assert hu == list(range(SLICES))
    assert lowest == [max(0, i - side) for i in range(SLICES)]  # beyond the ends, the end slice is repeated
    assert highest == [min(SLICES - 1, i + side) for i in range(SLICES)]


class Stopped(Neighbours):
    """A network that stops after its first batch, until it may go on."""

    def __init__(self) -> None:
        super().__init__(1)
        self.pool, self.begun, self.go_on = ThreadPoolExecutor(1), 0, Event()

    def __call__(self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        self.begun += 1
        if self.begun > 1:
            assert self.go_on.wait(60)
        return super().__call__(hu, around)


def test_a_ct_ends_with_its_batches_at_work_after_the_pool_was_told_to_end(tmp_path: Path) -> None:
    voxels = np.zeros((4, 5, SLICES), np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 2, 1])), tmp_path / "ct.nii")
    segmenter = Stopped()
    with open_ct(tmp_path / "ct.nii") as ct:
        blocks = segmenter.segment(ct, 1)
        next(blocks)
        segmenter.pool.shutdown(wait=False, cancel_futures=True)
        segmenter.go_on.set()
        end = Thread(target=blocks.close, daemon=True)
        end.start()
        end.join(30)
        assert not end.is_alive()
    assert segmenter.begun <= 2


class Overflow(Neighbours):
    """A network whose logits are NaN for slice 5, and for no other."""

    def __call__(self, hu: np.ndarray, around: np.ndarray, pixel_mm: object = None) -> tuple[np.ndarray, np.ndarray]:
        middle = hu[around[:, self.context // 2], 0, 0].tolist()
        if 5 in middle:
            raise NotFiniteError(middle.index(5))
        return super().__call__(hu, around)


@pytest.mark.hostile
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_slice_whose_logits_are_not_finite_is_named(batch_size: int, tmp_path: Path) -> None:
    voxels = np.broadcast_to(np.arange(SLICES, dtype=np.int16), (4, 5, SLICES))
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 2, 1])), tmp_path / "ct.nii")
    with (
        open_ct(tmp_path / "ct.nii") as ct,
        pytest.raises(InputError, match=r"finite logits; found NaN or infinity in slice 5 of .*ct\.nii"),
    ):
        list(Overflow(3).segment(ct, batch_size))
