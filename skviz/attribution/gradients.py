"""Attributions that are averages of gradients, for many targets from the same forward passes.

Every method here is Σ over samples of factor · gradient at a point: they differ in where the
points are and what the factors are. One forward pass serves all targets; each then costs one
vector-Jacobian product through the part of the network below it. Captum would run the whole network
for every target, and is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from tqdm import tqdm

    from skviz.attribution.probe import Probe

__all__ = [
    "Samples",
    "average_gradient",
    "gradient_shap",
    "input_x_gradient",
    "integrated_gradients",
    "saliency",
    "smoothgrad",
]

Draw = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | float]]


@dataclass(frozen=True)
class Samples:
    """The points of a method.

    Attributes
    ----------
    count
        Points per image.
    draw
        Takes indices of images and of samples, (R,) each; returns the points (R, 3, H, W) and
        their factors.
    """

    count: int
    draw: Draw


def saliency(images: Tensor) -> Samples:
    """Gradient at the image (Simonyan et al. 2014), with its sign."""
    return Samples(1, lambda image, _: (images[image], 1.0))


def input_x_gradient(images: Tensor) -> Samples:
    """Image times gradient (Shrikumar et al. 2016)."""
    return Samples(1, lambda image, _: (images[image], images[image]))


def integrated_gradients(images: Tensor, baseline: Tensor, steps: int) -> Samples:
    """Gradient along the line from the baseline (Sundararajan et al. 2017), Gauss–Legendre rule.

    Parameters
    ----------
    images, baseline
        (image, 3, H, W).
    steps
        Points on the line.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on −1 … 1
    at = torch.tensor((1 + nodes) / 2).to(images)
    weight = torch.tensor(weights / 2).to(images)

    def draw(image: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        way = images[image] - baseline[image]
        return baseline[image] + _column(at[sample]) * way, _column(weight[sample]) * way

    return Samples(steps, draw)


def gradient_shap(
    images: Tensor, baselines: Tensor, samples: int, noise: float, seeds: Sequence[int]
) -> Samples:
    """Gradient at random places between image and random baseline (Lundberg and Lee 2017).

    Parameters
    ----------
    images
        (image, 3, H, W).
    baselines
        (K, image or 1, 3, H, W): K to draw from for each image.
    samples
        Points per image.
    noise
        Standard deviation of the noise on the image.
    seeds
        One for each image, so that what is drawn does not depend on how images share passes.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]  # the same on any device
    # One place in each of as many equal parts of the way, and baselines in turn: the same on
    # average as places and baselines drawn freely, with a fraction of the scatter.
    drawn = [
        (
            (torch.arange(samples) + torch.rand(samples, generator=own)) / samples,
            torch.randperm(samples, generator=own)
            + torch.randint(len(baselines), (1,), generator=own),
        )
        for own in generators
    ]
    place, turn = (torch.stack(each).to(images.device) for each in zip(*drawn, strict=True))
    chosen = turn % len(baselines)
    baselines = baselines.expand(-1, len(images), -1, -1, -1)
    shaken = _noise(images, samples, noise, generators)

    def draw(image: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        end, start = shaken(image, sample), baselines[chosen[image, sample], image]
        return start + _column(place[image, sample].to(start)) * (end - start), (
            end - start
        ) / samples

    return Samples(samples, draw)


def smoothgrad(images: Tensor, samples: int, noise: float, seeds: Sequence[int]) -> Samples:
    """Mean gradient at the image with noise (Smilkov et al. 2017); arguments as `gradient_shap`."""
    shaken = _noise(images, samples, noise, [torch.Generator().manual_seed(s) for s in seeds])
    return Samples(samples, lambda image, sample: (shaken(image, sample), 1 / samples))


def _noise(
    images: Tensor, samples: int, noise: float, generators: Sequence[torch.Generator]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return images with noise of their own; made anew when asked for, since it is large."""
    seeds = torch.stack([torch.randint(2**31, (samples,), generator=own) for own in generators])

    def shaken(image: Tensor, sample: Tensor) -> Tensor:
        rows = images[image]
        if noise == 0:
            return rows
        drawn = [
            torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(int(seed)))
            for seed in seeds[image.cpu(), sample.cpu()]
        ]
        return rows + noise * torch.stack(drawn).to(images)

    return shaken


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]  # (R, 1, 1, 1)


def average_gradient(
    probe: Probe, images: Tensor, samples: Samples, *, rows: int, bar: tqdm[Any]
) -> Tensor:
    """Sum factor · gradient over the samples of every image, for every target.

    Parameters
    ----------
    probe
        The model and T targets.
    images
        (image, 3, H, W).
    samples
        Where the gradients are taken.
    rows
        How many of them in one pass.
    bar
        Advanced by the number of gradients taken.

    Returns
    -------
    Tensor
        (T, image, 3, H, W).
    """
    total = images.new_zeros((len(probe.targets), *images.shape))
    everything = torch.arange(len(images) * samples.count, device=images.device)
    for some in everything.split(rows):
        image, sample = some // samples.count, some % samples.count  # (R,) each
        points, factor = samples.draw(image, sample)
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            # Not stacked: through a stack every target would go down the network of all others.
            values = probe.values(points, image)
        implied = probe.implied(values)
        asked = [index for index in range(len(values)) if index not in implied]
        found = {}
        for index in asked:
            value = values[index]
            if not value.requires_grad:  # the weights of this unit were put there
                found[index] = torch.zeros_like(points)
                continue
            (found[index],) = torch.autograd.grad(
                value.sum(), points, retain_graph=index != asked[-1], materialize_grads=True
            )
        for index, others in implied.items():
            found[index] = -torch.stack([found[other] for other in others]).sum(0)
        for index, gradient in found.items():
            total[index].index_add_(0, image, factor * gradient)
        bar.update(len(some))
    return total
