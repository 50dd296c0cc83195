"""Batches of scenes in memory: what they have in common, photographs, images as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes.drawing import resample
from skviz.scenes.made import content_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from skviz.scenes.layers import Layers

__all__ = ["NOTHING", "Enlarged", "Ready", "Rendered", "Still", "check_scale", "rounded"]

NOTHING: Mapping[int, str] = MappingProxyType({})


class Ready(Protocol):
    """N scenes in memory, on a device."""

    @property
    def layers(self) -> Layers | None:
        """Their objects and backgrounds, where these are known apart."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest scale at which all can be rendered."""

    @property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of what makes each scene what it is."""

    @property
    def areas(self) -> Tensor:
        """(N,) share of each scene that its object covers at scale 1; NaN if that is not known."""

    @property
    def problems(self) -> Mapping[int, str]:
        """Why images that were asked for are not among them, by their place."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> Ready:
        """Return the scenes on `device`."""

    def render(self, scale: float) -> Tensor:
        """Render every scene at `scale`: (N, 3, S, S) in 0…1; `SceneError` if that cannot be."""

    def mask(self, scale: float) -> Tensor | None:
        """How much of each pixel is object at `scale`: (N, S, S) in 0…1; None if not known."""


def check_scale(scale: float) -> None:
    """Raise `SceneError` unless the scale is a positive, finite number."""
    if not math.isfinite(scale) or scale <= 0:
        raise SceneError(f"a scale must be a positive number, got {scale}")


def rounded(scale: float, towards: Callable[[float], int]) -> float:
    """Round to three digits with `math.floor` or `math.ceil`, so that a bound shown is kept."""
    unit = 10.0 ** (math.floor(math.log10(scale)) - 2)
    return towards(scale / unit) * unit


@dataclass(frozen=True, eq=False)
class Enlarged:
    """Photographs whose centre is enlarged: the paper's protocol (section 4.4, figure 3).

    Attributes
    ----------
    pictures
        N pictures (1, 3, H, W) in 0…1, of any sizes.
    canvas
        Side of the rendered scenes in pixels.
    """

    pictures: tuple[Tensor, ...]
    canvas: int

    threads = 0
    problems = NOTHING
    layers = None
    bounds = (1.0, math.inf)

    def __len__(self) -> int:
        return len(self.pictures)

    def ready(self, places: Sequence[int]) -> Self:
        """Return the photographs at these places."""
        return replace(self, pictures=tuple(self.pictures[place] for place in places))

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of what makes each of these what it is."""
        return self.ready(places).content

    def to(self, device: torch.device | str) -> Self:
        """Return the photographs on `device`."""
        return replace(self, pictures=tuple(picture.to(device) for picture in self.pictures))

    @cached_property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of each picture."""
        return np.array([content_of(picture) for picture in self.pictures], np.uint64)

    @property
    def areas(self) -> Tensor:
        """(N,) NaN: where the object is in these photographs is not known."""
        return torch.full((len(self),), torch.nan)

    def mask(self, scale: float) -> None:
        """Where the object is in these photographs is not known."""

    def render(self, scale: float) -> Tensor:
        """Enlarge the central 1 / scale of every photograph to the canvas: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If the scale is not a number of at least 1.
        """
        check_scale(scale)
        if scale < 1:
            raise SceneError(
                f"zoom enlarges the centre of a photograph, so its scale is at least 1, got {scale}"
            )
        made = []
        for picture in self.pictures:
            short, long = sorted(picture.shape[-2:])
            middle = picture.new_full((1, 2), self.canvas / 2)
            side = picture.new_tensor([self.canvas * scale * long / short])
            made.append(resample(picture, self.canvas, middle, side, edge=True))
        return torch.cat(made).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Still:
    """Images as they are, at scale 1.

    Attributes
    ----------
    images
        (N, 3, S, S), as the model takes them.
    """

    images: Tensor

    threads = 0
    problems = NOTHING
    layers = None
    bounds = (1.0, 1.0)

    def __len__(self) -> int:
        return len(self.images)

    def ready(self, places: Sequence[int]) -> Self:
        """Return the images at these places."""
        return replace(self, images=self.images[list(places)])

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of each of these."""
        return self.ready(places).content

    def to(self, device: torch.device | str) -> Self:
        """Return the images on `device`."""
        return replace(self, images=self.images.to(device))

    @property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of each image."""
        return np.array([content_of(image.detach()) for image in self.images], np.uint64)

    @property
    def areas(self) -> Tensor:
        """(N,) NaN: where an object is in these images is not known."""
        return torch.full((len(self),), torch.nan)

    def mask(self, scale: float) -> None:
        """Where an object is in these images is not known."""

    def render(self, scale: float) -> Tensor:
        """Return the images, at scale 1; `SceneError` at any other."""
        if scale != 1:
            raise SceneError(
                f"these images are as they are, at scale 1; to see them at {scale:g} use "
                "skviz.photographs(images).zoom()"
            )
        return self.images.detach()


@dataclass(frozen=True, eq=False)
class Rendered:
    """Images at some scales, and nothing else of them.

    Attributes
    ----------
    images, masks
        (N, 3, S, S) in 0…1 by scale, and where the objects are known (N, S, S).
    areas, content
        As of `Ready`.
    problems
        Why images are not among them, by their place among all.
    """

    images: dict[float, Tensor]
    masks: dict[float, Tensor | None]
    areas: Tensor
    content: np.ndarray
    problems: dict[int, str]

    layers = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest of the scales."""
        return min(self.images), max(self.images)

    def __len__(self) -> int:
        return len(self.areas)

    def to(self, device: torch.device | str) -> Self:
        """Return the images on `device`."""
        images = {scale: image.to(device) for scale, image in self.images.items()}
        masks = {s: None if mask is None else mask.to(device) for s, mask in self.masks.items()}
        return replace(self, images=images, masks=masks)

    def render(self, scale: float) -> Tensor:
        """Return the images at a scale."""
        return self.images[scale]

    def mask(self, scale: float) -> Tensor | None:
        """Return where the objects are at a scale."""
        return self.masks[scale]
