"""Objects in front of backgrounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes.drawing import compose
from skviz.scenes.ready import Ready, rounded

VISIBLE = 0.02  # alpha below which a pixel is not part of the object
SLACK = 1e-3  # pixels by which rounding may put an object off its canvas


@dataclass(frozen=True, eq=False)
class Layers(Ready):
    """Objects in front of backgrounds (protocol ``rescale``).

    Attributes
    ----------
    objects, backgrounds
        Premultiplied (N, 4, h, w), and (N, 3, S, S), in 0…1.
    reference
        (N,) side in pixels of each object at scale 1.
    centre
        (N, 2) where each object's middle lies (y, x), in pixels.
    ids
        N names.
    numbers
        Which one each is of those that it was taken from, for what is random but reproducible.
    draw
        From these and a scale to images, if they are drawn in another way than with the object at
        that scale.
    """

    objects: Tensor
    backgrounds: Tensor
    reference: Tensor
    centre: Tensor
    ids: tuple[str, ...]
    numbers: tuple[int, ...]

    draw: Callable[[Layers, float], Tensor] | None = None

    parts = ("objects", "backgrounds", "reference", "centre", "ids", "numbers")

    @property
    def layers(self) -> Self:
        """These."""
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest scale at which all can be rendered."""
        return (self.smallest_scale, self.largest_scale) if self.draw is None else (0.0, math.inf)

    @property
    def areas(self) -> Tensor:
        """(N,) share of each scene that its object covers at scale 1."""
        alpha, side = self.objects[:, 3], self.reference / self.backgrounds.shape[-1]
        return alpha.sum((1, 2)) * (side / max(alpha.shape[-2:])) ** 2

    @cached_property
    def extent(self) -> Tensor:
        """(N, 2, 2) pixels at scale 1 from `centre` to the object's ends: y then x, low then high.

        Negative where the object ends before its centre.
        """
        visible = self.objects[:, 3].cpu() > VISIBLE  # (N, h, w)
        ends = []
        for seen in (visible.any(2), visible.any(1)):  # (N, h), then (N, w)
            length = seen.shape[1]
            first = seen.int().argmax(1)
            last = length - seen.flip(1).int().argmax(1)
            ends.append(torch.stack([length / 2 - first, last - length / 2], 1))
        pixel = self.reference.cpu() / max(visible.shape[-2:])
        return torch.stack(ends, 1) * pixel[:, None, None]

    @cached_property
    def room(self) -> Tensor:
        """(N, 2, 2) pixels from `centre` to the border of the canvas, in the order of `extent`."""
        middle = self.centre.cpu()
        return torch.stack([middle, self.backgrounds.shape[-1] - middle], 2)

    @cached_property
    def largest_scale(self) -> float:
        """The largest scale at which every object lies wholly on its canvas."""
        return float((self.room / self.extent)[self.extent > 0].min())

    @cached_property
    def smallest_scale(self) -> float:
        """The smallest scale at which the longer side of every object is at least a pixel."""
        return 1 / float(self.extent.sum(2).amax(1).min())

    @cached_property
    def white(self) -> Self:
        """The objects in white on black: what can be seen is where they are."""
        alpha = self.objects[:, 3:].expand(-1, 4, -1, -1)
        return replace(self, objects=alpha, backgrounds=torch.zeros_like(self.backgrounds))

    def mask(self, scale: float) -> Tensor:
        """How much of each pixel the object covers at `scale`: (N, S, S) in 0…1."""
        return self.white.render(scale)[:, 0]

    def render(self, scale: float) -> Tensor:
        """Render every scene with its object at `scale`: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If that makes an object smaller than a pixel, or puts it off its canvas.
        """
        if self.draw is not None:
            return self.draw(self, scale)
        if bool((scale * self.extent > self.room + SLACK).any()):
            raise SceneError(
                f"at scale {scale:g} an object would leave its canvas; the largest scale of these "
                f"scenes is {rounded(self.largest_scale, math.floor):.3g}"
            )
        if not scale >= self.smallest_scale * (1 - 1e-6):  # NaN too
            raise SceneError(
                f"at scale {scale:g} an object would be smaller than a pixel; the smallest scale "
                f"of these scenes is {rounded(self.smallest_scale, math.ceil):.3g}"
            )
        return compose(self.objects, self.backgrounds, self.centre, scale * self.reference)
