import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import Normalize

import skviz
from skviz.errors import ModelError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def test_a_wrapped_model_sees_normalised_pictures_and_keeps_the_names_of_its_units(small_net):
    wrapped = skviz.wrap(small_net, mean=MEAN, std=STD, categories=list("abcdefg"), canvas=32)
    images = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        expected = small_net(Normalize(MEAN, STD)(images))
        torch.testing.assert_close(wrapped(images), expected)
    units = skviz.find_units(wrapped, images)
    assert units.names == skviz.find_units(small_net, images).names
    with torch.no_grad(), skviz.record(wrapped) as found, skviz.record(small_net) as inner:
        wrapped(images)
    for name, weights in inner.weights.items():
        assert torch.equal(found.weights[name], weights)
    assert wrapped.get_submodule(units.names[0]) is small_net.get_submodule(units.names[0])
    assert not any(module.training for module in wrapped.modules())
    assert small_net in set(wrapped.modules())


def test_its_categories_and_canvas_are_used(small_net, few):
    names = sorted({*few.category, "other", "another"})
    ds = skviz.sweep(skviz.wrap(small_net, categories=names, canvas=32), few, scales=[1.0, 2.0])
    raw = skviz.sweep(small_net, skviz.place(few, canvas=32), scales=[1.0, 2.0])
    np.testing.assert_allclose(ds["weight"].values, raw["weight"].values, atol=1e-5)
    truth = [names.index(c) for c in few.category]
    expected = raw["prediction"].values == np.array(truth)[:, None]
    assert (ds["correct"].values == expected).all()
    assert "correct" not in raw


def test_timm_brings_its_own_normalisation():
    import timm

    torch.manual_seed(0)
    bare = timm.create_model("skresnet18", pretrained=False).eval()
    wrapped = skviz.wrap(bare)
    images = torch.rand(2, 3, 64, 64)
    config = bare.pretrained_cfg
    with torch.no_grad():
        expected = bare(Normalize(config["mean"], config["std"])(images))
        torch.testing.assert_close(wrapped(images), expected)
    assert (wrapped.card.name, wrapped.card.canvas) == ("skresnet18", 224)
    assert skviz.load("timm/skresnet18", pretrained=False).card.name == "timm/skresnet18"


class Two(nn.Module):
    """Gives a dictionary and wants a number besides."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor, factor: float) -> dict[str, torch.Tensor]:
        return {"logits": self.inner(images) * factor}


def run(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model(images, 2.0)["logits"]


def test_a_model_that_is_called_otherwise(small_net):
    wrapped = skviz.wrap(Two(small_net), forward=run, name="two")
    assert wrapped.training
    assert not any(module.training for module in small_net.modules())  # as it was
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(wrapped(images), 2 * small_net(images))
        for other in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
            assert torch.equal(other(images), wrapped(images))
            assert [n for n, _ in other.named_modules()] == [n for n, _ in wrapped.named_modules()]
    assert skviz.find_units(wrapped, images).names == ("inner.stage1.0.sk", "inner.stage2.0.sk")


def test_what_is_no_normalisation(small_net):
    for options in ({"mean": [0.5]}, {"std": [0.1, 0.1, 0.0]}):
        with pytest.raises(ModelError, match="three numbers"):
            skviz.wrap(small_net, **options)
    with pytest.raises(ModelError, match="twice"):
        skviz.wrap(small_net, categories=["a", "a"])
