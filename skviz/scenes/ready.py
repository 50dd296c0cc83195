"""Batches of scenes in memory: what they have in common, photographs, images as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes.drawing import centred
from skviz.scenes.made import content_of

if TYPE_CHECKING:
    from skviz.scenes.layers import Layers


class Ready:
    """N scenes in memory, on a device; also a source of them.

    Attributes
    ----------
    parts
        Its attributes that hold something of each scene, the first ones tensors.
    threads
        As of `skviz.scenes.source.Source`: nothing has to be read.
    layers
        Their objects and backgrounds, where these are known apart.
    bounds
        The smallest and the largest scale at which all can be rendered.
    problems
        Why images that were asked for are not among them, by their place.
    """

    parts: ClassVar[tuple[str, ...]]
    threads: ClassVar[int] = 0
    problems: Mapping[int, str] = MappingProxyType({})

    @property
    def layers(self) -> Layers | None:
        """Their objects and backgrounds are not known apart."""
        return None

    @property
    def behind(self) -> Tensor | None:
        """(N, 3, S, S) the scenes without their objects; None if that is not known."""
        return None if self.layers is None else self.layers.backgrounds

    @property
    def bounds(self) -> tuple[float, float]:
        """At scale 1 only."""
        return 1.0, 1.0

    def __len__(self) -> int:
        return len(getattr(self, self.parts[0]))

    def ready(self, places: Sequence[int]) -> Self:
        """Return the scenes at these places."""
        return self._with(lambda held: cut(held, places))

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of what makes each of these what it is."""
        return self.ready(places).content

    def to(self, device: torch.device | str) -> Self:
        """Return the scenes on `device`."""
        return self._with(lambda held: moved(held, device))

    def _with(self, change: Callable[[Any], Any]) -> Self:
        held: Any = self
        changed: Self = replace(held, **{name: change(getattr(self, name)) for name in self.parts})
        return changed

    @cached_property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of what makes each scene what it is."""
        rows = zip(*(getattr(self, name) for name in self.parts), strict=True)
        found = [content_of(*(part for part in row if isinstance(part, Tensor))) for row in rows]
        return np.array(found, np.uint64)

    @property
    def areas(self) -> Tensor:
        """(N,) share of each scene that its object covers at scale 1; NaN if that is not known."""
        return torch.full((len(self),), torch.nan)

    def render(self, scale: float) -> Tensor:
        """Render every scene at `scale`: (N, 3, S, S) in 0…1; `SceneError` if that cannot be."""
        raise NotImplementedError

    def mask(self, scale: float) -> Tensor | None:  # noqa: ARG002
        """How much of each pixel is object at `scale`: (N, S, S) in 0…1; None if not known."""
        return None


def cut(held: Any, places: Sequence[int]) -> Any:
    """Return what a tensor or tuple holds at these places."""
    if isinstance(held, Tensor):
        return held[list(places)]
    return tuple(held[place] for place in places)


def moved(held: Any, device: torch.device | str) -> Any:
    """Return tensors and scenes on a device, and anything else as it is."""
    if isinstance(held, tuple):
        return tuple(moved(each, device) for each in held)
    return held.to(device) if isinstance(held, Tensor | Ready) else held


def rounded(scale: float, towards: Callable[[float], int]) -> float:
    """Round to three digits with `math.floor` or `math.ceil`, so that a bound shown is kept."""
    unit = 10.0 ** (math.floor(math.log10(scale)) - 2)
    return towards(scale / unit) * unit


@dataclass(frozen=True, eq=False)
class Enlarged(Ready):
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

    parts = ("pictures",)

    @property
    def bounds(self) -> tuple[float, float]:
        """From 1 on."""
        return 1.0, math.inf

    def render(self, scale: float) -> Tensor:
        """Enlarge the central 1 / scale of every photograph to the canvas: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If the scale is not a number of at least 1.
        """
        if not scale >= 1:  # NaN too
            raise SceneError(
                f"zoom enlarges the centre of a photograph, so its scale is at least 1, got {scale}"
            )
        made = []
        for picture in self.pictures:
            short, long = sorted(picture.shape[-2:])
            made.append(centred(picture, self.canvas, self.canvas * scale * long / short))
        return torch.cat(made).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Still(Ready):
    """Images as they are, at scale 1.

    Attributes
    ----------
    images
        (N, 3, S, S), as the model takes them.
    """

    images: Tensor

    parts = ("images",)

    def render(self, scale: float) -> Tensor:
        """Return the images, at scale 1; `SceneError` at any other."""
        if scale != 1:
            raise SceneError(
                f"these images are as they are, at scale 1; to see them at {scale:g} use "
                "skviz.photographs(images).zoom()"
            )
        return self.images


class Shown(NamedTuple):
    """One scene at some scales: its images, its masks, and what `Ready` says of it."""

    images: dict[float, Tensor]
    masks: dict[float, Tensor | None]
    behind: Tensor | None
    areas: Tensor
    content: np.ndarray


@dataclass(frozen=True, eq=False)
class Rendered(Ready):
    """Scenes that were read one by one, at some scales.

    Attributes
    ----------
    shown
        What is left of each.
    problems
        Why others are not among them, by their place among all.
    """

    shown: tuple[Shown, ...]
    problems: Mapping[int, str] = field()  # not as of others: none

    parts = ("shown",)

    @property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of what makes each scene what it is."""
        return np.concatenate([np.empty(0, np.uint64), *(one.content for one in self.shown)])

    @property
    def areas(self) -> Tensor:
        """(N,) share of each scene that its object covers at scale 1; NaN if that is not known."""
        return torch.cat([torch.empty(0), *(one.areas.cpu() for one in self.shown)])

    @property
    def behind(self) -> Tensor | None:
        """(N, 3, S, S) the scenes without their objects; None if that is not known."""
        return together(one.behind for one in self.shown)

    def render(self, scale: float) -> Tensor:
        """Return the images at a scale."""
        return torch.cat([one.images[scale] for one in self.shown])

    def mask(self, scale: float) -> Tensor | None:
        """Return where the objects are at a scale."""
        return together(one.masks[scale] for one in self.shown)


def together(parts: Iterable[Tensor | None]) -> Tensor | None:
    """Put together what is known of some scenes; None if it is of none."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
