"""What a method works on: the model and its targets, images and baselines, and how they share it.

Methods that are averages of gradients differ in where the gradients are taken and in the factors.
One forward pass serves all targets; each then costs one vector-Jacobian product through the part of
the network below it. Captum would run the whole network for every target, and is what the tests
compare with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skviz.attribution.probe import Probe
from skviz.errors import AttributionError

CANCELS, FLOOR = 0.01, 1e-4  # the least that an error is compared with, see `completeness_error`
# Takes indices of images and of samples, (R,) each; returns points (R, 3, H, W) and their factors.
Draw = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | float]]


@dataclass(frozen=True)
class Job:
    """What a method works on.

    Attributes
    ----------
    probe
        The model and T targets.
    images
        (image, 3, H, W).
    baselines
        (K, image or 1, 3, H, W); all methods but gradient SHAP want K = 1.
    change
        (T, image): value at the image minus mean value at the baselines.
    mask
        (image, H, W) where the object is, where known.
    rows
        How many fit in one pass.
    seeds
        One for each image, so that what is drawn does not depend on how images share passes.
    """

    probe: Probe
    images: Tensor
    baselines: Tensor
    change: Tensor
    mask: Tensor | None
    rows: int
    seeds: tuple[int, ...]

    @property
    def baseline(self) -> Tensor:
        """The only baseline, (image, 3, H, W)."""
        if len(self.baselines) > 1:
            raise AttributionError(
                f"{len(self.baselines)} baselines are a distribution, which only 'gradient_shap' "
                "takes; give one, or one for each image"
            )
        return self.baselines[0].expand_as(self.images)

    @property
    def everyone(self) -> Tensor:
        """Numbers of the images, (image,)."""
        return torch.arange(len(self.images), device=self.images.device)

    @property
    def generators(self) -> list[torch.Generator]:
        """For each image what it draws from: the same on any device."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def only(self, targets: Tensor, images: Tensor) -> Job:
        """Return the job for some of its targets and images, by index."""
        return replace(
            self,
            probe=self.probe.only(targets, images),
            images=self.images[images],
            baselines=self.baselines.expand(-1, len(self.images), -1, -1, -1)[:, images],
            change=self.change[targets][:, images],
            mask=None if self.mask is None else self.mask[images],
            seeds=tuple(self.seeds[index] for index in images.tolist()),
        )

    def average(self, samples: int, draw: Draw) -> Tensor:
        """Sum factor · gradient over the samples of every image, for every target.

        Parameters
        ----------
        samples
            Points per image.
        draw
            Returns points and their factors.

        Returns
        -------
        Tensor
            (T, image, 3, H, W).
        """
        total = self.images.new_zeros((len(self.probe.targets), *self.images.shape))
        everything = torch.arange(len(self.images) * samples, device=self.images.device)
        for some in everything.split(self.rows):
            image, sample = some // samples, some % samples  # (R,) each
            points, factor = draw(image, sample)
            _, found = _gradients(self.probe, points, image)
            for index, gradient in found.items():
                total[index].index_add_(0, image, factor * gradient)
        return total

    def at_images(self) -> tuple[Tensor, Tensor]:
        """Return the gradient of every target at every image, and its value, (T, image)."""
        values, found = _gradients(self.probe, self.images, self.everyone)
        return torch.stack([found[index] for index in range(len(values))]), values


def _gradients(probe: Probe, points: Tensor, image: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Return every target's values at points (R, 3, H, W), (T, R), and their gradients."""
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
    return torch.stack([value.detach().double() for value in values]), found


def completeness_error(maps: Tensor, change: Tensor) -> Tensor:
    """|Σ attribution − change| as a share of the change.

    Where that is less than a hundredth of Σ |attribution|, what adds up to it cancels out, and the
    error is given as a share of that hundredth; and of 0.0001 at least, which is a hundred times
    what float32 leaves of a logit's or a weight's last digits.

    Parameters
    ----------
    maps
        (T, image, 3, H, W).
    change
        (T, image).
    """
    exact = maps.double()
    size = change.abs().maximum(CANCELS * exact.sum(2).abs().sum((2, 3))).clamp(min=FLOOR)
    return (exact.sum((2, 3, 4)) - change).abs() / size
