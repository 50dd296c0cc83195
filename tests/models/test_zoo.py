import json
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch

import skviz
from recipes.caltech import CATEGORIES
from skviz import assets
from skviz.errors import DataError, ModelError
from skviz.models import zoo
from skviz.models.nn import SKNet
from skviz.scenes import cutouts
from skviz.studies import store


@pytest.fixture
def card() -> zoo.Card:
    network = {"depths": [1], "widths": [8], "stem_channels": 8, "stem_stride": 2, "groups": 2}
    return zoo.Card("mine", network, ("cat", "dog"), 32)


def test_every_shipped_network_loads_and_names_the_categories():
    assert set(zoo.names()) == {"caltech", "objects", "objects-3"}
    for name in zoo.names():
        model = skviz.load(name)
        assert not any(module.training for module in model.modules())
        names = CATEGORIES if name == "caltech" else cutouts.objects().categories
        assert model.card.categories == names
        assert model(torch.rand(2, 3, 96, 96)).shape == (2, len(model.card.categories))
    kernels = {m.kernels for m in skviz.load("objects-3").modules() if hasattr(m, "kernels")}
    assert kernels == {(3, 5, 7)}


def test_shipped_networks_recognise_families_they_never_saw():
    """The model card's claim, coarsely: two of three held-out objects at the reference scale."""
    for name in ("objects", "objects-3"):
        objects = cutouts.objects(family=cutouts.HELD_OUT_FAMILIES)
        ds = skviz.sweep(skviz.load(name), objects, scales=[1.0])
        assert ds["correct"].mean() > 2 / 3


def test_the_kept_study_is_that_of_the_shipped_network():
    ds = store.load(assets.data_folder() / "studies" / "caltech.zarr")
    assert ds.attrs["model_sha256"] == zoo.weights_hash(skviz.load("caltech"))
    card = (assets.data_folder() / "models" / "caltech.md").read_text()
    accuracy = 100 * ds["correct"].mean("image").values
    assert "| accuracy | " + " | ".join(f"{a:.1f}" for a in accuracy) + " |" in card
    assert accuracy[0] > 80


def test_weights_are_plain_safetensors():
    path = assets.data_folder() / "models" / "objects.safetensors"
    with safetensors.safe_open(path, "np") as file:
        card = json.loads(file.metadata()["skviz"])
        total = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    assert card["training"]["seed"] == 0
    assert total < 2e6


def test_what_is_saved_comes_back(card, tmp_path):
    model = SKNet(**card.network, num_classes=2).eval()
    path = tmp_path / "mine.safetensors"
    zoo.save(model, card, path)
    again = skviz.load(path)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(images), again(images))
    assert again.card.categories == ("cat", "dog")
    assert zoo.weights_hash(model) == zoo.weights_hash(again)
    first = path.read_bytes()
    zoo.save(again, again.card, path)
    assert path.read_bytes() == first


def test_hash_changes_with_any_weight(card):
    model = SKNet(**card.network, num_classes=2)
    before = zoo.weights_hash(model)
    with torch.no_grad():
        model.fc.bias[1] = float(np.nextafter(np.float32(model.fc.bias[1].item()), np.float32(1)))
    assert zoo.weights_hash(model) != before


def test_unknown_names_list_the_known():
    with pytest.raises(ModelError, match="objects-3"):
        skviz.load("nothing")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not a network")
    with pytest.raises(ModelError, match="not a network that skviz saved"):
        skviz.load(path)
    path.write_bytes(safetensors.numpy.save({"a": np.zeros(2)}))
    with pytest.raises(ModelError, match="not a network that skviz saved"):
        skviz.load(path)


def test_an_altered_weight_file_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "models" / "objects.safetensors"
    path.parent.mkdir()
    content = bytearray((assets.data_folder() / "models" / "objects.safetensors").read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    known = assets.manifest()
    monkeypatch.setattr(assets, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(assets, "manifest", lambda: known)
    with pytest.raises(DataError, match="sha256"):
        skviz.load("objects")


def test_timm_networks():
    model = skviz.load("timm/skresnet18", pretrained=False)
    assert not model.training
    with pytest.raises(ModelError, match="no network 'nothing'"):
        skviz.load("timm/nothing")


def test_timm_without_internet_says_so_in_one_sentence(monkeypatch):
    import timm

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(ModelError, match="pretrained=False") as caught:
        skviz.load("timm/skresnet18")
    assert "\n" not in str(caught.value)


def test_torchvision_that_does_not_fit_its_torch(monkeypatch):
    """A CPU-only torch beside the usual torchvision fails like this at import."""

    class Broken:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist")

    for name in [name for name in sys.modules if name.split(".")[0] in ("timm", "torchvision")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(ModelError, match="built for torch") as caught:
        skviz.load("timm/skresnet18", pretrained=False)
    assert "\n" not in str(caught.value)
