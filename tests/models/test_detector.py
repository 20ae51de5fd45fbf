"""The detector of lesions in windows of the liver, and the network whose lesions it confirms."""

import pytest
import torch
from helpers.networks import model_config
from hydra.utils import instantiate
from monai.networks.nets import resnet50
from torch import Tensor, nn

from lits_seg.common.errors import InputError
from lits_seg.models import Detector, DetectorCascade
from lits_seg.models.cost import count_parameters

CELL, AROUND, MARGIN = 10, 3, 4
SMALL = {"layers": [1, 1, 1, 1], "widths": [4, 4, 4, 4]}


class Brightest(Detector):
    """Finds a lesion in windows whose brightest pixel is above 1/2; without a network."""

    def __init__(self, **settings: object) -> None:
        few = {"cell": CELL, "around": AROUND, "margin": MARGIN, "liver_pixels": 30, "lesion_pixels": 2}
        super().__init__(**SMALL, **{**few, **settings})
        self.seen: list[Tensor] = []

    def logit(self, windows: Tensor) -> Tensor:
        self.seen.append(windows)
        return 9 * (windows[:, 0].amax((1, 2)) - 0.5)


class Given(nn.Module):
    """Three slices as the logits of three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.weight


def scene(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Slices with few bright pixels, and livers of any place and size; the last slice has none."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(4, 64, 52, generator=generator) > 0.995).float()
    livers = torch.zeros(4, 64, 52, dtype=torch.bool)
    livers[0, 3:40, 11:35] = livers[1, 20:61, 0:52] = livers[2, 50:63, 40:52] = True
    return images, livers


def cells(liver: Tensor) -> list[tuple[int, int]]:
    """The cells of a slice that count, by loops."""
    if not liver.any():
        return []
    height, width = liver.shape
    top, left = (int(liver.any(axis).nonzero()[0]) - MARGIN for axis in (1, 0))
    return [
        (y, x)
        for y in range(top, height, CELL)
        for x in range(left, width, CELL)
        if y >= AROUND and x >= AROUND and y + CELL + AROUND <= height and x + CELL + AROUND <= width
        if liver[y : y + CELL, x : x + CELL].sum() > 30
    ]


def test_the_published_count() -> None:
    with torch.device("meta"):
        network = instantiate(model_config("model=detector"))
        whole = resnet50(spatial_dims=2, n_input_channels=3, num_classes=1, pretrained=False, bias_downsample=False)
        assert network(torch.zeros(2, 3, 80, 80)).shape == (2, 2, 80, 80)
    assert count_parameters(network) == count_parameters(whole) == 23_510_081


@pytest.mark.parametrize("seed", range(3))
def test_lesions_are_found_in_windows_of_cells_with_liver(seed: int) -> None:
    images, livers = scene(seed)
    network = Brightest().eval()
    found = network.found(images, livers)
    expected = torch.zeros_like(livers)
    for image, liver, kept in zip(images, livers, expected, strict=True):
        for y, x in cells(liver):
            window = (slice(y - AROUND, y + CELL + AROUND), slice(x - AROUND, x + CELL + AROUND))
            kept[window] |= bool(image[window].max() > 0.5)
    assert torch.equal(found, expected)
    assert expected[:2].any()
    assert not expected[3].any()
    assert len(network.seen[0]) == sum(len(cells(liver)) for liver in livers)  # no other window is computed


def test_slices_without_liver_have_no_windows() -> None:
    network = Brightest().eval()
    assert not network.found(torch.ones(2, 32, 32), torch.zeros(2, 32, 32, dtype=torch.bool)).any()
    assert network.seen == []


def test_training_windows_are_half_with_lesions() -> None:
    images, livers = scene()
    label = livers.long()
    label[0, 14:17, 20:23] = label[1, 40:44, 20:24] = 2
    label[1, 30, 30] = 2  # too few pixels
    network = Brightest()
    for _ in range(8):
        windows, found = network.draw(torch.stack([0 * images, label / 2, 0 * images], dim=1), label)
        positive = found[:, 0, 0] == 2
        assert windows.shape == (len(found), 1, CELL + 2 * AROUND, CELL + 2 * AROUND)
        assert found.shape == windows[:, 0].shape
        assert positive.sum() == (~positive).sum() >= 2
        inner = windows[:, 0, AROUND:-AROUND, AROUND:-AROUND]  # the cell, in any of the 8 views
        assert torch.equal(((inner == 1).sum((1, 2)) > 2), positive)
        assert ((inner > 0).sum((1, 2)) > 30).all()
    few, _ = Brightest(windows=2).draw(images[:, None], label)
    assert len(few) == 2


def test_livers_whose_lesions_are_unknown_have_no_windows() -> None:
    livers = scene()[1]
    label = livers.long() * torch.tensor([3, 1, 3, 3])[:, None, None]
    windows, found = Brightest().draw(label[:, None].float() / 3, label)
    assert set(found.unique().tolist()) == {1}
    assert len(windows) == 1  # as many without lesion as with, but at least one
    assert windows.max() < 0.5


def test_a_batch_without_any_liver_has_a_window() -> None:
    label = torch.zeros(2, 32, 32, dtype=torch.long)
    assert len(Brightest().draw(torch.ones(2, 1, 32, 32), label)[0]) == 1


def test_lesions_stay_where_they_are_confirmed() -> None:
    logits = torch.randn(2, 3, 64, 52) * 4
    network = DetectorCascade(Given(), Brightest(liver_pixels=0), 3, 3, 3).eval()
    found = network.lesion.found(logits[:, 1], logits.argmax(1) > 0)
    result = network(logits)
    before, after = logits.argmax(1), result.argmax(1)
    assert 0 < found.sum() < found.numel()
    assert torch.equal(result.movedim(1, -1)[found], logits.movedim(1, -1)[found])
    assert torch.equal(after, torch.where(found, before, before.clamp(max=1)))
    assert result.softmax(1)[:, 2][~found].max() < 1e-12
    assert not any(weight.requires_grad for weight in network.liver.parameters())


def test_the_graph_computes_the_same() -> None:
    torch.manual_seed(0)
    network = DetectorCascade(Given(), Detector(**SMALL, cell=12, around=4, margin=3, liver_pixels=20), 3, 3, 3).eval()
    logits = torch.randn(2, 3, 48, 48) * 4
    seen: list[Tensor] = []
    network.lesion.score.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    with torch.no_grad():
        network(logits)
        network.lesion.score.bias -= (
            seen[0].sort(0).values[len(seen[0]) // 2 :][:2].mean() - network.lesion.least_logit
        )  # half of the windows
    graph = torch.export.export(network, (logits,)).module()
    torch.testing.assert_close(graph(logits), network(logits))
    removed = (network(logits) != logits).any(1)
    assert 0 < removed.sum() < removed.numel()


@pytest.mark.hostile
@pytest.mark.parametrize("settings", [{"cell": 60}, {"cell": 30, "around": 15}, {"cell": 2048, "around": 2048}])
def test_windows_larger_than_the_image(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"model\.cell: expected windows that fit into images of \(64, 52\) pixels"):
        Brightest(**settings).found(*scene())


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["around", "margin"])
def test_windows_that_overlap_without_limit(name: str) -> None:
    with pytest.raises(InputError, match=rf"model\.{name}: expected at most model\.cell \(10\); found 11"):
        Brightest(**{name: CELL + 1})
