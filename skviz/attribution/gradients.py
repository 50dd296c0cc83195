"""Methods that are averages of gradients; each returns (T, image, 3, H, W).

Those at the image itself return the values of targets too, (T, image), which cost nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from skviz.attribution.job import FLOOR, Job
from skviz.errors import AttributionError, Count, entrance

# Of integrated gradients: parts of the line at first, how often they may be halved, steps in each.
PARTS, MOST_HALVINGS, NODES = 8, 5, 4
# A part may be off by this share of the target's change: with some 60 parts, whose signs differ,
# the whole is off by less than 1 %. And which part of what is gained and lost again counts.
CLOSE, CANCELLED = 0.01 / 8, 0.1


def saliency(job: Job) -> tuple[Tensor, Tensor]:
    """Gradient at the image (Simonyan et al. 2014), with its sign; and the values there."""
    return job.at_images()


def input_x_gradient(job: Job) -> tuple[Tensor, Tensor]:
    """Image times gradient (Shrikumar et al. 2016); and the values there."""
    maps, values = job.at_images()
    return job.images * maps, values


@entrance
def integrated_gradients(job: Job, *, steps: Count | None = None) -> Tensor:
    """Gradient along the line from the baseline (Sundararajan et al. 2017), Gauss–Legendre rule.

    By default the line is cut into parts, and each is halved until its own sum is right: how much
    the target gains from one end of a part to the other is known.
    """
    if steps is not None:
        whole = job.images.new_tensor([[0.0], [1.0]]).expand(2, len(job.images))
        return _along_the_line(job, whole, steps)
    maps = job.images.new_zeros((len(job.probe.targets), *job.images.shape))
    targets = torch.arange(len(maps), device=job.images.device)
    edges = torch.linspace(0, 1, PARTS + 1).to(job.images).repeat(len(job.images), 1)
    known = _value(job, job.everyone.repeat_interleave(PARTS + 1), edges.flatten())
    known = known.unflatten(1, edges.shape)  # (T, image, edge)
    moved = known.diff().abs().sum(2)  # what is gained and lost again cancels out
    allowed = CLOSE * job.change.abs().maximum(CANCELLED * moved).clamp(min=FLOOR)  # (T, image)
    image, ends, values = job.everyone.repeat_interleave(PARTS), _parts(edges), _parts(known)
    left = torch.ones_like(values[0], dtype=torch.bool)  # (T, part)
    for halvings in range(MOST_HALVINGS + 1):
        gain = values[1] - values[0]
        for some in torch.arange(len(image), device=image.device).split(max(1, job.rows // NODES)):
            found = _along_the_line(job.only(targets, image[some]), ends[:, some], NODES)
            miss = (found.double().sum((2, 3, 4)) - gain[:, some]).abs()
            right = miss <= allowed[targets][:, image[some]]
            right = left[:, some] & (right | (halvings == MOST_HALVINGS))
            left[:, some] &= ~right
            where = targets[:, None], image[some][None]
            maps.index_put_(where, found * right[:, :, None, None, None], accumulate=True)
        which, again = left.any(1), left.any(0)
        if not bool(again.any()):
            break
        targets, image, ends = targets[which], image[again], ends[:, again]
        values, left = values[:, which][:, :, again], left[which][:, again]
        middle = ends.mean(0)
        there = _value(job.only(targets, job.everyone), image, middle)
        ends = _parts(torch.stack([ends[0], middle, ends[1]], -1))
        values = _parts(torch.stack([values[0], there, values[1]], -1))
        image, left = image.repeat_interleave(2), left.repeat_interleave(2, 1)
    return maps


def _parts(edges: Tensor) -> Tensor:
    """Return what is at both ends of the parts between edges (…, line, edge): (2, …, part)."""
    return torch.stack([edges[..., :-1], edges[..., 1:]]).flatten(-2)


def _value(job: Job, image: Tensor, at: Tensor) -> Tensor:
    """Return the targets' values (T, row) at places on the lines of images, (row,) each."""
    found, start = [], job.baseline
    with torch.no_grad():
        for own, here in zip(image.split(job.rows), at.split(job.rows), strict=True):
            points = start[own] + _column(here) * (job.images[own] - start[own])
            found.append(job.probe(points, own))
    return torch.cat(found).T.double()


def _along_the_line(job: Job, ends: Tensor, steps: int) -> Tensor:
    """Integrate a part of every image's line, whose `ends` are (2, image)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # on −1 … 1
    at = torch.tensor((1 + nodes) / 2).to(job.images)
    weight = torch.tensor(weights / 2).to(job.images)
    start, length = job.baseline, ends[1] - ends[0]

    def draw(image: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        way = job.images[image] - start[image]
        place = ends[0][image] + at[sample] * length[image]
        return start[image] + _column(place) * way, _column(weight[sample] * length[image]) * way

    return job.average(steps, draw)


@entrance
def gradient_shap(job: Job, *, samples: Count = 256, noise: float = 0.0) -> Tensor:
    """Gradient at random places between image and random baseline (Lundberg and Lee 2017).

    One place in each of as many equal parts of the way, and baselines in turn: the same on average
    as places and baselines drawn freely, with a fraction of the scatter.
    """
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


@entrance
def smoothgrad(job: Job, *, samples: Count = 32, noise: float = 0.1) -> Tensor:
    """Mean gradient at the image with noise of this standard deviation (Smilkov et al. 2017)."""
    shaken = _shaken(job.images, samples, noise, job.generators)
    return job.average(samples, lambda image, sample: (shaken(image, sample), 1 / samples))


def _shaken(
    images: Tensor, samples: int, noise: float, generators: Sequence[torch.Generator]
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return images with noise of their own; made anew when asked for, since it is large."""
    if noise < 0:
        raise AttributionError(f"noise must be a standard deviation, 0 or more, got {noise}")
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
