"""Methods that are averages of gradients; each returns (T, image, 3, H, W)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from skviz.attribution.job import Job, completeness_error, not_negative, positive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "gradient_shap",
    "input_x_gradient",
    "integrated_gradients",
    "saliency",
    "smoothgrad",
]

FEW_STEPS, MOST_STEPS = 32, 1024  # of integrated gradients
CLOSE = 0.01  # completeness error at which integrated gradients stop refining


def saliency(job: Job) -> Tensor:
    """Gradient at the image (Simonyan et al. 2014), with its sign."""
    return job.average(1, lambda image, _: (job.images[image], 1.0))


def input_x_gradient(job: Job) -> Tensor:
    """Image times gradient (Shrikumar et al. 2016)."""
    return job.average(1, lambda image, _: (job.images[image], job.images[image]))


def integrated_gradients(job: Job, *, steps: int | None = None) -> Tensor:
    """Gradient along the line from the baseline (Sundararajan et al. 2017), Gauss–Legendre rule.

    By default with as many steps as completeness asks for.
    """
    if steps is not None:
        return _along_the_line(job, positive("steps", steps))
    maps, steps = _along_the_line(job, FEW_STEPS), FEW_STEPS
    while steps < MOST_STEPS:
        coarse = completeness_error(maps, job.change) > CLOSE  # (T, image)
        if not bool(coarse.any()):
            break
        steps *= 2
        targets, images = coarse.any(1).nonzero()[:, 0], coarse.any(0).nonzero()[:, 0]
        maps[targets[:, None], images] = _along_the_line(job.only(targets, images), steps)
    return maps


def _along_the_line(job: Job, steps: int) -> Tensor:
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on −1 … 1
    at = torch.tensor((1 + nodes) / 2).to(job.images)
    weight = torch.tensor(weights / 2).to(job.images)
    start = job.baseline

    def draw(image: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        way = job.images[image] - start[image]
        return start[image] + _column(at[sample]) * way, _column(weight[sample]) * way

    return job.average(steps, draw)


def gradient_shap(job: Job, *, samples: int = 256, noise: float = 0.0) -> Tensor:
    """Gradient at random places between image and random baseline (Lundberg and Lee 2017).

    One place in each of as many equal parts of the way, and baselines in turn: the same on average
    as places and baselines drawn freely, with a fraction of the scatter.
    """
    positive("samples", samples)
    generators, count = job.generators, len(job.baselines)
    drawn = [
        (
            (torch.arange(samples) + torch.rand(samples, generator=own)) / samples,
            torch.randperm(samples, generator=own) + torch.randint(count, (1,), generator=own),
        )
        for own in generators
    ]
    place, turn = (torch.stack(each).to(job.images.device) for each in zip(*drawn, strict=True))
    baselines = job.baselines.expand(-1, len(job.images), -1, -1, -1)
    shaken = _shaken(job.images, samples, noise, generators)

    def draw(image: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        start = baselines[turn[image, sample] % count, image]
        way = shaken(image, sample) - start
        return start + _column(place[image, sample].to(start)) * way, way / samples

    return job.average(samples, draw)


def smoothgrad(job: Job, *, samples: int = 32, noise: float = 0.1) -> Tensor:
    """Mean gradient at the image with noise of this standard deviation (Smilkov et al. 2017)."""
    shaken = _shaken(job.images, positive("samples", samples), noise, job.generators)
    return job.average(samples, lambda image, sample: (shaken(image, sample), 1 / samples))


def _shaken(
    images: Tensor, samples: int, noise: float, generators: Sequence[torch.Generator]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return images with noise of their own; made anew when asked for, since it is large."""
    not_negative(noise)
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
