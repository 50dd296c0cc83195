"""Models that give no logits: their weights are swept, drawn and explored all the same."""

from functools import partial

import pytest
import torch
import xarray as xr
from textboxes import texts
from torch import nn
from zoo.literature import mixed
from zoo.models import Modules, Select, conv

import skviz
from skviz.errors import SkvizError
from skviz.explorer.grid import branch_labels
from skviz.plot import labels

IMAGES = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A unit between two convolutions, and what is made of its map."""

    def __init__(self, channels: int, answer) -> None:
        super().__init__()
        self.stem, self.sk = (
            nn.Conv2d(channels, 8, 3, padding=1),
            skviz.models.nn.SKConv(8, groups=1),
        )
        self.last, self.answer = nn.Conv2d(8, channels, 3, padding=1), answer

    def forward(self, x, *others):
        x = x["image"] if isinstance(x, dict) else x
        y = self.last(self.sk(self.stem(x + sum(others))))
        return self.answer(x, y)


def _with_noise(model, images):
    return model(images, torch.zeros_like(images))


def _grey(model, images):
    return model(images.mean(1, keepdim=True))


def _named(model, images):
    return model({"image": images})


def _list(boxes, _x, y):
    return [{boxes: one.flatten(), "scores": one.mean(0)} for one in y]


MODELS = {
    "restoration": (3, lambda x, y: x + y, None),
    "segmentation": (3, lambda _x, y: y, None),
    "a dictionary": (3, lambda x, y: {"out": y, "aux": x}, None),
    "detection": (3, partial(_list, "boxes"), None),
    "several inputs": (3, lambda x, y: x + y, _with_noise),
    "one channel": (1, lambda x, y: x + y, _grey),
    "a dictionary as input": (3, lambda x, y: (x, y), _named),
}


def made(name):
    torch.manual_seed(0)
    channels, answer, forward = MODELS[name]
    return skviz.wrap(Net(channels, answer).train(), forward=forward, canvas=24)


@pytest.mark.parametrize("name", MODELS)
def test_weights_need_no_logits(name, tmp_path):
    model = made(name)
    stored = skviz.sweep(model, IMAGES, device="cpu", store=tmp_path / "s.zarr", progress=False)
    ds = skviz.sweep(model, IMAGES, device="cpu", progress=False)
    for one in (ds, stored):
        assert not {"prediction", "probability", "correct"} & set(one.data_vars)
    assert model.inner.training
    net = model.inner.eval()
    with torch.no_grad():
        x = IMAGES.mean(1, keepdim=True) if net.stem.in_channels == 1 else IMAGES
        seen = []
        handle = net.sk.softmax.register_forward_hook(lambda _m, _x, out: seen.append(out))
        net.sk(net.stem(x))
        handle.remove()
    truth = seen[0].mean(2)  # (image, branch)
    for one in (ds, stored):
        weight = torch.tensor(one["weight"].values[:, 0, 0])
        torch.testing.assert_close(weight, truth, atol=1e-5, rtol=0)
    skviz.plot.branch_heatmap(ds)


def test_logits_are_still_judged():
    ds = skviz.sweep(Net(3, lambda _x, y: y.mean((2, 3))), IMAGES, device="cpu", progress=False)
    assert ds["prediction"].shape == (3, 1)


@pytest.mark.parametrize("name", ["restoration", "segmentation"])
def test_an_effect_is_how_much_the_output_changes(name):
    model = made(name)
    three = {"3×3": skviz.force(kernel=3)}
    ds = skviz.effect(model, IMAGES, three, device="cpu", batch=2, progress=False)
    assert set(ds.data_vars) & {"prediction", "probability", "change"} == {"change"}
    net = model.inner.eval()
    with torch.no_grad():
        natural, first = net(IMAGES), net.sk.convs[0](net.stem(IMAGES))
        forced = net.last(first) + (IMAGES if name == "restoration" else 0)
        changed = ((forced - natural) ** 2).mean((1, 2, 3)).sqrt()
    assert changed.min() > 0.01
    for unit in ("sk", "all"):
        found = torch.tensor(ds["change"].sel(intervention="3×3", unit=unit).values[:, 0])
        torch.testing.assert_close(found, changed, atol=1e-6, rtol=1e-5)
    assert (ds["change"].sel(intervention="natural") == 0).all()
    with pytest.raises(SkvizError, match="does not know the categories"):
        skviz.plot.intervention_effect(ds)


def test_a_swap_changes_an_output_by_foreign_weights(few):
    model, scenes = made("restoration"), skviz.place(few, canvas=24)[:2]
    what = {"large": skviz.swap(scale=1.0)}
    ds = skviz.effect(model, scenes, what, scales=[0.5, 1.0], device="cpu", progress=False)
    change = ds["change"].sel(intervention="large", unit="sk")
    assert (change.sel(scale=0.5) > 0).all()
    assert change.sel(scale=1.0).max() < 1e-6


@pytest.mark.parametrize(
    ("name", "got"),
    [("a dictionary", "got dict"), ("detection", "got list"), ("counts", "got torch.int64")],
)
def test_an_effect_on_several_outputs_is_refused(name, got):
    model = Net(3, lambda _x, y: y.argmax(1)) if name == "counts" else made(name)
    with pytest.raises(SkvizError, match=f"{got}; choose one with skviz.wrap"):
        skviz.effect(model, IMAGES, {"uniform": "uniform"}, device="cpu", progress=False)
    chosen = skviz.wrap(made("a dictionary"), forward=lambda model, images: model(images)["out"])
    ds = skviz.effect(chosen, IMAGES, {"uniform": "uniform"}, device="cpu", progress=False)
    assert (ds["change"].sel(intervention="uniform") > 0).all()


def test_a_restoration_network_is_explored(few):
    model = made("restoration")
    shown = skviz.explore(model, few, scales=[0.5, 1.0], canvas=24)
    shown.wait()
    ds = skviz.sweep(model, skviz.place(few, canvas=24)[:1], scales=[0.5, 1.0], progress=False)
    xr.testing.assert_allclose(shown.ds["weight"], ds["weight"], atol=1e-5)
    assert shown.ds["prediction"].isnull().all()
    shown.close()


def _unit(dims):
    """A unit of kernels 3 and 5 in a sound (image, C, y·x), a picture or a volume (…, y, x, 2)."""

    def give(model, images):
        maps = images[:, [0, 1, 2, 0]]
        return model({1: maps.flatten(2), 2: maps, 3: torch.stack([maps, -maps], -1)}[dims])

    features = Modules(conv(3, dims=dims), conv(5, dims=dims))
    unit = Select(features, 2, "channel", lambda f, z: mixed(f, z.softmax(1)))
    return skviz.wrap(unit, forward=give, canvas=24)


@pytest.mark.parametrize(("dims", "names"), [(1, "3 5"), (2, "3×3 5×5"), (3, "3×3×3 5×5×5")])
def test_kernels_are_called_by_all_their_axes(dims, names):
    model, names = _unit(dims), names.split()
    (unit,) = skviz.find_units(model, IMAGES)
    assert [unit.branch_name(branch) for branch in (0, 1)] == branch_labels(unit) == names
    assert unit.sizes == (3, 5)
    ds = skviz.sweep(model, IMAGES, device="cpu", progress=False, channels=True)
    assert labels.branches(ds["kernel"]) == names
    assert labels.branches_of(skviz.stats.channels(ds, unit.name)["kernel"]) == names
    assert labels.branches_of(ds["weight"].isel(unit=0)["kernel"]) == names
    assert set(names) <= {text.get_text() for text in texts(skviz.plot.unit_diagram(model, IMAGES))}
