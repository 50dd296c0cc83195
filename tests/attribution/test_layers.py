"""Methods that look inside the network, beside Captum, and where they do not hold."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import skviz
from skviz.errors import AttributionError, UnitError
from skviz.models.nn import SKConv

from .peer import Subject, agree
from .test_gradients import maps, mean_colour


def by_captum(subject: Subject, value, unit: str) -> Tensor:
    """LayerGradCam at a unit, enlarged as ours, (image, y, x)."""
    layer = subject.model.get_submodule(unit)
    small = captum.attr.LayerGradCam(value, layer).attribute(subject.images)
    side = subject.images.shape[-2:]
    return captum.attr.LayerAttribution.interpolate(small.detach(), side, "bilinear")[:, 0]


UNITS = {"shipped": "stage2.0.sk", "timms": "layer1.1.conv1"}  # before the targets' own


@pytest.mark.parametrize("name", UNITS)
def test_grad_cam(name, request):
    subject, unit = request.getfixturevalue(name), UNITS[name]
    found = maps(subject, method="grad_cam", unit=unit)
    for index, value in enumerate(subject.values):
        agree(found[index], by_captum(subject, value, unit))


def test_grad_cam_is_at_the_last_unit_by_default(shipped):
    ds = skviz.attribute(shipped.model, shipped.images, target=1, method="grad_cam")
    expected = by_captum(shipped, shipped.values[0], "stage3.1.sk")
    agree(torch.tensor(ds["attribution"].values[0]), expected)


@pytest.mark.parametrize("name", UNITS)
def test_maps_of_the_branches_add_up_to_that_of_the_unit(name, request):
    subject, unit = request.getfixturevalue(name), UNITS[name]
    whole = maps(subject, method="grad_cam", unit=unit)
    small = maps(subject, method="grad_cam", unit=unit, kernel=3)
    large = maps(subject, method="grad_cam", unit=unit, branch=1)
    agree((small + large).flatten(0, 1), whole.flatten(0, 1))
    assert not torch.allclose(small, large, rtol=0.1)


class Followed(nn.Module):
    """What follows the unit works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.sk = nn.Conv2d(3, 8, 3), SKConv(8, kernels=(3, 5), groups=1)
        self.after = nn.Sequential(nn.Hardtanh(0.1, 0.4, inplace=True), nn.AdaptiveAvgPool2d(2))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.after(self.sk(self.stem(x))).flatten(1))


def test_grad_cam_before_something_in_place(spatial):
    model = Followed().double().eval()
    subject = Subject(model, spatial.images, ["predicted", 1], [lambda rows: model(rows)[:, 1]])
    found = maps(subject, method="grad_cam")
    agree(found[1], by_captum(subject, subject.values[0], "sk"))
    small, large = (maps(subject, method="grad_cam", branch=branch)[1] for branch in (0, 1))
    agree(small + large, found[1])


def test_grad_cam_where_it_has_no_meaning(shipped, spatial):
    def cam(subject, target, **options):
        skviz.attribute(subject.model, subject.images, target=target, method="grad_cam", **options)

    with pytest.raises(AttributionError, match=r"does not depend on .*'stage3\.1\.sk'.* earlier"):
        cam(shipped, skviz.target.branch("stage2.1.sk", kernel=5))
    with pytest.raises(UnitError, match="must run once"):
        cam(spatial, 1, unit="twice")
    with pytest.raises(AttributionError, match="not the weighted sum of its branches"):
        cam(spatial, 1, unit="pixel", kernel=3)  # a tanh follows inside
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)).double()
    plain(spatial.images)
    with pytest.raises(UnitError, match="found no Selective-Kernel unit"):
        cam(Subject(plain, spatial.images, [], []), 1)


class Sequence(nn.Sequential):
    """A plain network, all of modules, on which DeepLift and guided backpropagation hold."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 5)),
        )


@pytest.fixture
def plain(spatial) -> Subject:
    model = Sequence().double().eval()
    values = [lambda rows: model(rows)[:, 1], lambda rows: model(rows)[:, 4]]
    return Subject(model, spatial.images, [1, "predicted"], values[:1])


def test_deep_lift(plain):
    ds = skviz.attribute(plain.model, plain.images, target=plain.targets, method="deep_lift")
    assert float(ds["completeness_error"].max()) < 1e-6
    with pytest.warns(UserWarning, match="Setting forward, backward hooks"):
        peer = captum.attr.DeepLift(plain.model).attribute(
            plain.images.clone().requires_grad_(), mean_colour(plain.images), target=1
        )
    agree(torch.tensor(ds["attribution"].values[0]), peer.detach().sum(1))


def test_guided_backprop(plain):
    found = maps(plain, method="guided_backprop")
    with pytest.warns(UserWarning, match="Setting backward hooks"):
        peer = captum.attr.GuidedBackprop(plain.model).attribute(
            plain.images.clone().requires_grad_(), target=1
        )
    agree(found[0], peer.sum(1))
    saliency = maps(plain, method="saliency")
    assert not torch.allclose(found, saliency, rtol=0.1)


def test_deep_lift_that_does_not_hold_is_refused(shipped):
    options = {"target": 1, "method": "deep_lift"}
    with pytest.raises(AttributionError, match=r"'deep_lift' misses .*'integrated_gradients'"):
        skviz.attribute(shipped.model, shipped.images, **options)
    with pytest.warns(UserWarning, match="misses completeness by") as caught:
        ds = skviz.attribute(shipped.model, shipped.images, **options, check="warn")
    assert caught[-1].filename == __file__
    assert float(ds["completeness_error"].max()) > 0.05
    total = ds["attribution"].sum(("y", "x"))[0]
    with torch.no_grad():
        here, there = (shipped.values[0](x) for x in (shipped.images, mean_colour(shipped.images)))
    np.testing.assert_allclose(ds["delta"][0], total - (here - there).numpy(), rtol=1e-3)


def test_guided_backprop_that_would_miss_rectifiers_is_refused(timms, spatial):
    for subject in (timms, spatial):
        with pytest.raises(AttributionError, match="functions or in place"):
            maps(subject, method="guided_backprop")


class Mixed(nn.Module):
    """One rectification is a module, two are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.second, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.second(self.relu(self.first(x))))
        return nn.functional.relu(self.head(x.mean((2, 3))))


def test_it_is_said_how_many_rectifiers_would_be_missed():
    with pytest.raises(AttributionError, match="of the 3 rectifications of this model 2 are"):
        skviz.attribute(
            Mixed().eval(), torch.rand(2, 3, 16, 16), target=1, method="guided_backprop"
        )
