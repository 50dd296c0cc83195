import numpy as np
import pytest
import torch
from PIL import Image

from recipes import cards, cards_cifar, train, train_cifar
from recipes.cifar import CLASSES
from skviz.models import zoo
from skviz.studies import store


class Photographs:
    """Forty noise pictures, four of each class."""

    classes = CLASSES

    def __init__(self, **_: object) -> None:
        self.data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
        self.targets = [i % 10 for i in range(40)]

    def __len__(self) -> int:
        return 40

    def __getitem__(self, place: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.data[place]), self.targets[place]


def test_the_card_and_the_small_store(tmp_path, monkeypatch):
    monkeypatch.setattr(cards_cifar, "Cifar10", Photographs)
    monkeypatch.setattr(train_cifar, "Cifar10", Photographs)
    monkeypatch.setattr(cards_cifar, "SOME", 20)
    network = {"depths": (1, 1), "widths": (8, 16), "stem_channels": 64, "stem_stride": 2}
    recipe = train_cifar.CifarRecipe(network=network | {"groups": 1, "kernels": (3, 5)})
    zoo.save(train.make_network(recipe), cards.card_of(recipe), tmp_path / "net.safetensors")
    model = zoo.load(tmp_path / "net.safetensors")
    text = cards_cifar.write_card(
        model, recipe, store=tmp_path / "s.zarr", keep=tmp_path / "k.zarr", echo=lambda _: None
    )
    images = torch.from_numpy(Photographs().data).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        right = model(images).argmax(1) == torch.tensor(Photographs().targets)
    row = next(line for line in text.splitlines() if line.startswith("| all"))
    assert float(row.split("|")[2]) == pytest.approx(100 * float(right.float().mean()), abs=0.06)
    kept, whole = store.load(tmp_path / "k.zarr"), store.load(tmp_path / "s.zarr")
    np.testing.assert_allclose(kept["weight"], whole["weight"], atol=1e-3)
    np.testing.assert_array_equal(kept["prediction"], whole["prediction"])
    assert kept["untrained_shift"].shape == (3, 2)
    assert "thumbnail" not in kept  # the photographs are not ours to give
    assert "| stage2.0.sk |" in text
