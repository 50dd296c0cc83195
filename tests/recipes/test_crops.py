import pytest
import torch
from torch import Tensor

from recipes.crops import crops


def ramp(height: int, width: int) -> Tensor:
    """A picture that says where each of its pixels is: red along x, green along y."""
    y = torch.linspace(0, 250, height).round()[:, None].expand(height, width)
    x = torch.linspace(0, 250, width).round().expand(height, width)
    return torch.stack([x, y, torch.zeros(height, width)]).byte()


@pytest.fixture(scope="module")
def cut() -> Tensor:
    return crops([ramp(200, 300)], range(64), 24)


def test_crops_are_squares_of_half_to_all_of_the_shorter_side(cut: Tensor) -> None:
    assert cut.shape == (64, 3, 24, 24)
    # Slopes per pixel of the result, away from its border, back in pixels of the picture.
    wide = cut[:, 0, :, 2:-2].diff(dim=2).mean((1, 2)) * 255 / 250 * 300 * 24
    tall = cut[:, 1, 2:-2].diff(dim=1).mean((1, 2)) * 255 / 250 * 200 * 24
    torch.testing.assert_close(wide.abs(), tall, rtol=0.03, atol=0)
    assert float(tall.min()) > 0.97 * 100
    assert float(tall.max()) < 1.03 * 200
    assert float(tall.std()) > 20
    mirrored = int((wide < 0).sum())
    assert 16 <= mirrored <= 48  # 32 ± 4 standard deviations


def test_crops_come_from_anywhere_in_the_picture(cut: Tensor) -> None:
    middle = cut[:, :2, 11:13, 11:13].mean((2, 3)) * 255 / 250  # (x, y) of each crop's middle
    assert float(middle[:, 0].min()) < 0.4
    assert float(middle[:, 0].max()) > 0.6
    assert float(cut.min()) >= 0
    assert float(cut.max()) <= 251 / 255


def test_a_crop_depends_on_its_own_seed_alone(cut: Tensor) -> None:
    assert torch.equal(crops([ramp(200, 300)], [40, 3], 24), cut[[40, 3]])
    assert float(torch.pdist(cut.flatten(1)).min()) > 0.01


def test_crops_are_taken_of_every_picture() -> None:
    plain = [torch.full((3, 40 + i, 50), 80 * i, dtype=torch.uint8) for i in range(4)]
    values = crops(plain, range(80), 8).mean((1, 2, 3)) * 255 / 80
    counts = torch.bincount(values.round().long(), minlength=4)
    assert len(counts) == 4
    assert int(counts.min()) >= 5
