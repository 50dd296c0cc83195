"""Receptive fields against closed forms of plain stacks, and autograd channel by channel."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import skviz
from skviz.capture import find_units
from skviz.capture.interventions import force, intervene
from skviz.errors import UnitError
from skviz.models.nn import SKNet
from skviz.scenes import cutouts
from skviz.scenes.source import Scenes
from skviz.studies.fields import radii, squared_gradients


class Plain(nn.Module):
    """A stack of convolutions whose weights are all one, and a unit's place at its end."""

    def __init__(self, *kernels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *(nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=False) for kernel in kernels)
        )
        for conv in self.convs:
            nn.init.ones_(conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.convs(x)


class Stub:
    """A unit as far as `squared_gradients` looks at it."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize("kernels", [(3,), (5,), (3, 3, 3), (7, 3, 5)])
def test_a_stack_of_plain_convolutions_has_the_field_of_the_closed_form(kernels):
    size = 31
    images = torch.rand(2, 1, size, size)
    field = squared_gradients(
        Plain(*kernels), images, [Stub("convs")], 3, [torch.Generator() for _ in images]
    )[0, 0]
    line = np.ones(1)
    for kernel in kernels:  # gradients of sums of shifts: the kernels convolved with each other
        line = np.convolve(line, np.ones(kernel))
    expected = np.zeros((size, size))
    reach = slice(size // 2 - len(line) // 2, size // 2 + len(line) // 2 + 1)
    expected[reach, reach] = np.outer(line, line) ** 2
    np.testing.assert_allclose(field, expected, rtol=1e-4)
    assert len(line) == 1 + sum(kernel - 1 for kernel in kernels)  # the size in every textbook


def test_radii_of_a_uniform_disc_and_of_a_gaussian():
    y, x = np.mgrid[-60:61, -60:61]
    away = np.hypot(y, x)
    disc, gauss = (away <= 40).astype(float), np.exp(-(away**2) / (2 * 12**2))
    half, most = radii(np.stack([disc, gauss]))
    np.testing.assert_allclose(half, [40 * np.sqrt(0.5), 12 * np.sqrt(2 * np.log(2))], atol=0.6)
    np.testing.assert_allclose(most, [40 * np.sqrt(0.95), 12 * np.sqrt(2 * np.log(20))], atol=0.6)


@pytest.fixture(scope="module")
def network() -> SKNet:
    torch.manual_seed(0)
    net = SKNet((1, 1), (8, 16), num_classes=5, stem_channels=8, stem_stride=2, groups=1, L=8)
    return net.eval()


@pytest.fixture(scope="module")
def source() -> Scenes:
    return cutouts.place(cutouts.objects(family="fxemoji")[[3, 40, 60]], canvas=32, seed=2)


def test_random_signs_average_to_the_sum_over_channels(network, source):
    images = source.render(1.0)
    units = find_units(network, images)
    drawn = squared_gradients(
        network,
        images,
        units[:1],
        600,
        [torch.Generator().manual_seed(s) for s in range(len(images))],
    )[0]
    seen = []
    handle = network.stage1[0].sk.register_forward_hook(lambda *args: seen.append(args[-1]))
    inputs = images.clone().requires_grad_()
    network(inputs)
    handle.remove()
    central = seen[0][:, :, 8, 8]
    exact = sum(
        torch.autograd.grad(central[:, c].sum(), inputs, retain_graph=True)[0].square().sum(1)
        for c in range(central.shape[1])
    )
    assert float((drawn - exact).norm() / exact.norm()) < 0.1


def test_forced_selections_are_those_of_interventions_and_larger_kernels_see_more(network, source):
    ds = skviz.receptive_field(network, source, scales=[1.2], draws=64, progress=False)
    assert ds["selection"].values.tolist() == ["natural", "3×3", "5×5"]
    np.testing.assert_allclose(ds["field"].sum(["y", "x"]), 1, rtol=1e-5)
    radius = ds["radius"].sel(share=0.95)
    assert bool((radius.sel(selection="5×5") > radius.sel(selection="3×3")).all())
    units = find_units(network, source.render(1.0))
    with intervene(network, {unit.name: force(kernel=5) for unit in units}, units=units):
        field = squared_gradients(
            network, source.render(1.2), units, 64, [torch.Generator() for _ in source]
        )
    mean = field.sum(1) / field.sum((1, 2, 3))[:, None, None]
    kept = ds["field"].sel(scale=1.2, selection="5×5")
    assert float(np.corrcoef(mean.flatten(), kept.values.flatten())[0, 1]) > 0.9


def test_the_gate_is_held_fixed(network, source):
    # With all weights held, nothing outside the branches' own reach is seen; with the gate, it is.
    images, units = source.render(1.0), find_units(network, source.render(1.0))
    free = squared_gradients(network, images, units[:1], 1, [torch.Generator() for _ in images])
    with intervene(network, {unit.name: torch.Tensor.detach for unit in units}, units=units):
        held = squared_gradients(network, images, units[:1], 1, [torch.Generator() for _ in images])
    assert float(held[0, :, 0, 0].max()) == 0
    assert float(free[0, :, 0, 0].min()) > 0


def test_what_a_unit_naturally_sees_leaves_all_gates_out_whoever_else_is_asked_for(network, source):
    """At the corners only gates see anything: one unit's, or another's before it."""
    every = skviz.receptive_field(network, source[:1], draws=2, progress=False)
    assert float(every["field"].sel(unit="stage1.0.sk")[..., 0, 0].max()) == 0
    for name in every["unit"].values:
        alone = skviz.receptive_field(network, source[:1], units=[name], draws=2, progress=False)
        np.testing.assert_array_equal(alone["selection"], every["selection"])
        seen = alone["field"].sel(unit=name) > 0
        xr.testing.assert_equal(seen, every["field"].sel(unit=name) > 0)


def test_the_model_comes_back_and_errors_are_clear(network, source):
    before = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    with pytest.raises(UnitError, match="nothing"):
        skviz.receptive_field(network, source, units=["nothing"])
    skviz.receptive_field(network, source[:2], draws=1, progress=False)
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    assert before == after
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_last_bits_of_an_image_do_not_change_its_signs(network):
    """Procedural backgrounds round otherwise on another processor."""
    objects = cutouts.objects(family="fxemoji")[[3, 40, 60]]
    grounds = torch.rand(3, 3, 32, 32)
    found = [
        skviz.receptive_field(
            network, cutouts.place(objects, canvas=32, backgrounds=each), scales=[1.2], draws=1,
            progress=False,
        )["radius"]
        for each in (grounds, grounds * (1 - 1e-6))
    ]  # fmt: skip
    np.testing.assert_allclose(*found, atol=0.05)
