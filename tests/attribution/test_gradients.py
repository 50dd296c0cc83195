"""Averages of gradients, beside Captum called once for each target."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor

import skviz

from .peer import agree, mean_weight


def maps(subject, **options) -> Tensor:
    """(target, image, y, x)."""
    ds = skviz.attribute(subject.model, subject.images, target=subject.targets, **options)
    return torch.tensor(ds["attribution"].values)


def mean_colour(images: Tensor) -> Tensor:
    return images.mean((2, 3), keepdim=True).expand_as(images)


def test_saliency(any_subject):
    found = maps(any_subject, method="saliency")
    for index, value in enumerate(any_subject.values):
        peer = captum.attr.Saliency(value).attribute(
            any_subject.images.clone().requires_grad_(), abs=False
        )
        agree(found[index], peer.sum(1))


def test_input_x_gradient(any_subject):
    found = maps(any_subject, method="input_x_gradient")
    for index, value in enumerate(any_subject.values):
        peer = captum.attr.InputXGradient(value).attribute(
            any_subject.images.clone().requires_grad_()
        )
        agree(found[index], peer.detach().sum(1))


@pytest.mark.filterwarnings("ignore:.* misses completeness")  # with so few samples
def test_integrated_gradients(any_subject):
    ds = skviz.attribute(
        any_subject.model,
        any_subject.images,
        target=any_subject.targets,
        method="integrated_gradients",
        steps=5,
        check="warn",
    )
    baseline = mean_colour(any_subject.images)
    for index, value in enumerate(any_subject.values):
        peer, delta = captum.attr.IntegratedGradients(value).attribute(
            any_subject.images, baseline, n_steps=5, return_convergence_delta=True
        )
        agree(torch.tensor(ds["attribution"].values[index]), peer.detach().sum(1))
        size = float(peer.abs().sum())
        np.testing.assert_allclose(ds["delta"].values[index], delta.detach(), atol=1e-5 * size)


@pytest.mark.filterwarnings("ignore:.* misses completeness")  # with so few samples
@pytest.mark.parametrize("baseline", [0.3, "tensor"])
def test_other_baselines(spatial, baseline):
    if baseline == "tensor":
        baseline = torch.rand_like(spatial.images)
    found = maps(spatial, method="integrated_gradients", steps=4, baseline=baseline, check="warn")
    for index, value in enumerate(spatial.values):
        peer = captum.attr.IntegratedGradients(value)
        agree(found[index], peer.attribute(spatial.images, baseline, n_steps=4).detach().sum(1))


def within_error(draws: Tensor, expected: Tensor, error: Tensor | float = 0.0) -> None:
    """Compare the mean of independent draws (draw, y, x) with (y, x), itself off by ``error``."""
    own = draws.std(0) / len(draws) ** 0.5
    z = (draws.mean(0) - expected) / (own**2 + error**2).sqrt()
    assert float(z.abs().max()) < 6  # of some hundreds
    assert 0.1 < float(z.square().mean()) < 2  # pixels are far from independent


COPIES = 64


def copies(subject, target, **options) -> Tensor:
    """Maps of copies of one image; each has draws of its own."""
    images = subject.images[:1].expand(COPIES, -1, -1, -1)
    ds = skviz.attribute(subject.model, images, target=target, **options)
    return torch.tensor(ds["attribution"].values[0])


@pytest.mark.filterwarnings("ignore:.* misses completeness")  # with so few samples
def test_gradient_shap_is_on_average_the_mean_of_integrated_gradients(spatial):
    baselines = torch.rand(3, *spatial.images.shape[1:]).double()
    found = copies(spatial, 1, method="gradient_shap", samples=8, baseline=baselines, check="warn")
    peer = captum.attr.IntegratedGradients(spatial.values[0])
    image = spatial.images[:1]
    each = [peer.attribute(image, one[None], n_steps=100).detach() for one in baselines]
    within_error(found, torch.cat(each).mean(0).sum(0))


@pytest.mark.filterwarnings("ignore:.* misses completeness")  # with so few samples
def test_gradient_shap_with_noise(spatial):
    found = copies(spatial, 1, method="gradient_shap", samples=8, noise=0.3, check="warn")
    np.random.seed(0)  # noqa: NPY002 (Captum draws from it)
    image = spatial.images[:1]
    peer = captum.attr.GradientShap(spatial.values[0])
    peers = torch.cat(
        [
            peer.attribute(image, mean_colour(image), n_samples=64, stdevs=0.3).detach().sum(1)
            for _ in range(12)
        ]
    )
    within_error(found, peers.mean(0), peers.std(0) / len(peers) ** 0.5)


def test_smoothgrad_without_noise_is_saliency(shipped):
    found = maps(shipped, method="smoothgrad", samples=2, noise=0)
    agree(found.flatten(0, 1), maps(shipped, method="saliency").flatten(0, 1))


@pytest.mark.parametrize("which", [0, 2])
def test_smoothgrad(spatial, which):
    found = copies(spatial, spatial.targets[which], method="smoothgrad", samples=8, noise=0.3)
    peer = captum.attr.NoiseTunnel(captum.attr.Saliency(spatial.values[which]))
    image = spatial.images[:1].clone().requires_grad_()
    peers = torch.cat(
        [
            peer.attribute(image, nt_samples=64, stdevs=0.3, abs=False).detach().sum(1)
            for _ in range(12)
        ]
    )
    within_error(found, peers.mean(0), peers.std(0) / len(peers) ** 0.5)


@pytest.mark.filterwarnings("ignore:.* misses completeness")  # with so few samples
@pytest.mark.parametrize("method", ["smoothgrad", "gradient_shap"])
def test_a_seed_says_what_is_drawn_however_images_share_passes(spatial, method, monkeypatch):
    options = {"method": method, "samples": 4, "noise": 0.2, "check": "warn"}
    once, again = maps(spatial, **options), maps(spatial, **options)
    other = maps(spatial, **options, seed=1)
    monkeypatch.setattr("skviz.attribution.probe.MOST_ROWS", 2)
    apart = maps(spatial, **options)
    assert torch.equal(once, again)
    assert not torch.allclose(once, other, rtol=0.1)
    agree(apart.flatten(0, 1), once.flatten(0, 1))


def test_branch_weights_beside_finite_differences(scenes):
    """In double precision, along random directions, for every branch of the network."""
    model = skviz.load("objects").double()
    images = scenes.render(1.0).double()
    units = skviz.find_units(model, images)
    targets = skviz.target.every_branch(units)
    ds = skviz.attribute(model, images, target=targets, method="saliency")
    # So small that hardly a ReLU lies between the two ends, whatever rounds the images.
    step = 1e-9 * torch.randn(images.shape[0], 1, *images.shape[2:]).double()
    for index, target in enumerate(targets):
        value = mean_weight(model, target.unit, target.branch)
        with torch.no_grad():
            change = (value(images + step) - value(images - step)) / 2
        gradient = torch.tensor(ds["attribution"].values[index]).double()
        found = (gradient * step[:, 0]).sum((1, 2))
        torch.testing.assert_close(found, change, rtol=1e-3, atol=1e-14)


def test_channels(shipped):
    """Weights of some channels only: the mean of what they have alone."""
    name = "stage2.1.sk"
    targets = [skviz.target.branch(name, kernel=5, channels=some) for some in ([0, 7], [0], [7])]
    ds = skviz.attribute(shipped.model, shipped.images, target=targets, method="saliency")
    both, first, second = torch.tensor(ds["attribution"].values)
    agree(both, (first + second) / 2)
    assert not torch.allclose(first, second)
    value = mean_weight(shipped.model, name, 1)
    assert not np.allclose(ds["value"][0], value(shipped.images).detach())
