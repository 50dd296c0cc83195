"""The recipes of `caltech`, on a few small pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recipes import caltech, train
from recipes.train_caltech import FIRST, RECIPES
from skviz.errors import DataError
from skviz.models.nn import SKConv

TINY = {"depths": (1,), "widths": (8,), "stem_channels": 8, "stem_stride": 2, "groups": 1}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two pictures of each category, one for the test."""
    folder = tmp_path_factory.mktemp("caltech")
    rng = np.random.default_rng(0)
    for name in (*caltech.CATEGORIES, *caltech.LEFT_OUT):
        (folder / name).mkdir()
        for number in (4, 5):
            grey = rng.integers(80, 176, (4, 6, 1), np.uint8).repeat(3, 2)
            picture = Image.fromarray(grey).resize((60, 40))
            picture.save(folder / name / f"image_{number:04d}.jpg")
    return folder


def test_the_split_is_by_number_and_leaves_two_folders_out(root):
    train_files, test_files = (caltech.files(root, test=test) for test in (False, True))
    assert len(train_files) == len(test_files) == 100
    assert {path.stem for path, _ in test_files} == {"image_0005"}
    assert not {path.parent.name for path, _ in train_files} & set(caltech.LEFT_OUT)
    assert all(caltech.CATEGORIES[label] == path.parent.name for path, label in test_files)
    with pytest.raises(DataError, match="Caltech-101"):
        caltech.files(root / "crab", test=True)


def test_a_crop_is_resampled_as_pillow_does(root):
    """A grey photograph: what its colours are changed to is linear in what it was."""
    paths = [path for path, _ in caltech.files(root, test=False)][:1]
    photographs, sizes = caltech.packed(paths)
    assert sizes.tolist() == [[40, 60]]
    recipe = replace(FIRST, batch=8, smallest=0.3, mixed=0.0, canvas=24)
    images, labels = recipe.crops(photographs, sizes, torch.tensor([7]), torch.ones(1), 3)
    assert images.shape == (8, 3, 24, 24)
    assert labels.argmax(1).tolist() == [7] * 8
    again, _ = recipe.crops(photographs, sizes, torch.tensor([7]), torch.ones(1), 3)
    assert torch.equal(images, again)
    generator = torch.Generator().manual_seed(3)
    torch.multinomial(torch.ones(1), 8, replacement=True, generator=generator)
    picture = Image.open(paths[0]).convert("L")
    for image, u in zip(images, torch.rand((8, 10), generator=generator).tolist(), strict=True):
        area, aspect = (0.3 + 0.7 * u[0]) * 60 * 40, (4 / 3) ** (2 * u[1] - 1)
        height, width = min((area / aspect) ** 0.5, 40), min((area * aspect) ** 0.5, 60)
        top, left = u[2] * (40 - height), u[3] * (60 - width)
        box = (left, top, left + width, top + height)
        expected = np.array(picture.resize((24, 24), Image.Resampling.BICUBIC, box=box), float)
        expected = expected[:, ::-1] if u[4] < 0.5 else expected
        found = image.mean(0).numpy()
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.995


def test_mixed_labels_are_those_of_two_photographs(root):
    paths = [path for path, _ in caltech.files(root, test=False)][:6]
    photographs, sizes = caltech.packed(paths)
    recipe = replace(FIRST, batch=32, canvas=16)
    _, labels = recipe.crops(photographs, sizes, torch.arange(6), torch.ones(6), 0)
    torch.testing.assert_close(labels.sum(1), torch.ones(32))
    assert ((labels > 0).sum(1) <= 2).all()
    assert ((labels > 0).sum(1) == 2).any()
    assert labels.max(1).values.min() >= 0.5


def test_a_fixed_selection_stays_equal_and_the_twin_has_equal_kernels(root, tmp_path):
    recipe = replace(
        RECIPES["caltech-fixed"], network=TINY | {"kernels": (3, 5)}, steps=3, batch=4, canvas=16,
        root=str(root),
    )  # fmt: skip
    network = train.train(recipe, tmp_path, where="cpu", bfloat16=False, progress=False)
    before = train.make_network(recipe)
    assert not torch.equal(before.fc.weight, network.fc.weight)
    (unit,) = [module for module in network.modules() if isinstance(module, SKConv)]
    assert not unit.select.weight.any()
    assert RECIPES["caltech-twin"].network["kernels"] == (3, 3)
    assert RECIPES["caltech-twin"].network.keys() == RECIPES["caltech"].network.keys()
    assert sorted({recipe.seed for recipe in RECIPES.values()}) == [0, 1, 2]


def test_what_stands_on_white_is_cut_out(tmp_path):
    folder = tmp_path / "crab"
    folder.mkdir()
    pixels = np.full((60, 80, 3), 255, np.uint8)
    pixels[15:45, 20:60] = (200, 10, 10)
    pixels[25:35, 35:45] = 255  # white inside belongs to the object
    Image.fromarray(pixels).save(folder / "image_0005.png")
    Image.fromarray(255 - pixels).save(folder / "image_0010.png")  # not on white
    found = caltech.cut_outs(sorted(folder.iterdir()))
    assert found.category == ("crab",)
    alpha = found.rgba[0, 3]
    rows, columns = alpha.any(1).nonzero(), alpha.any(0).nonzero()
    height, width = (int(each.max() - each.min() + 1) for each in (rows, columns))
    assert width == caltech.SIDE - 2 * caltech.MARGIN
    assert height / width == pytest.approx(28 / 38, abs=0.02)
    assert alpha[64, 64] == 255
