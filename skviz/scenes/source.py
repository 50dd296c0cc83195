"""What the network is shown: objects on backgrounds of their own, at any scale."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import procedural
from skviz.scenes.drawing import compose, premultiplied, rotation_matrix, warp
from skviz.scenes.made import content_of, step
from skviz.scenes.pictures import checked_images

__all__ = ["Scenes", "Source", "place"]

VISIBLE = 0.02  # alpha below which a pixel is not part of the object
SLACK = 1e-3  # pixels by which rounding may put an object off its canvas
TENSORS = ("objects", "backgrounds", "reference", "centre")


class Source(Protocol):
    """What a sweep asks of its scenes."""

    @property
    def category(self) -> tuple[str, ...]:
        """What each of the N scenes shows."""

    @property
    def ids(self) -> tuple[str, ...]:
        """A name for each of the N scenes."""

    @property
    def attrs(self) -> dict[str, Any]:
        """How the scenes were made."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Self: ...

    def to(self, device: torch.device | str) -> "Source":
        """Return the scenes on `device`."""

    def render(self, scale: float) -> Tensor:
        """Render every scene at `scale`: (N, 3, S, S) in 0…1."""

    def coverage(self, scale: float) -> Tensor | None:
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
class Scenes:
    """Objects on backgrounds, ready to be rendered at any scale (protocol ``rescale``).

    Attributes
    ----------
    objects, backgrounds
        Premultiplied (N, 4, h, w), and (N, 3, S, S), in 0…1.
    reference
        (N,) side in pixels of each object at scale 1.
    centre
        (N, 2) where each object's middle lies (y, x), in pixels.
    category, ids
        N names.
    attrs
        How the scenes were made, for provenance.
    """

    objects: Tensor
    backgrounds: Tensor
    reference: Tensor
    centre: Tensor
    category: tuple[str, ...]
    ids: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, part: slice, /) -> Self:
        cut = {name: getattr(self, name)[part] for name in TENSORS}
        return replace(self, category=self.category[part], ids=self.ids[part], **cut)

    def to(self, device: torch.device | str) -> Self:
        """Return the scenes with their tensors on `device`."""
        return replace(self, **{name: getattr(self, name).to(device) for name in TENSORS})

    @cached_property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of what makes each scene what it is."""
        rows = zip(*(getattr(self, name) for name in TENSORS), strict=True)
        return np.array([content_of(*row) for row in rows], np.uint64)

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

    def coverage(self, scale: float) -> Tensor:
        """How much of each pixel the object covers at `scale`: (N, S, S) in 0…1."""
        return self.white.render(scale)[:, 0]

    def check(self, scale: float) -> None:
        """Raise `SceneError` if the scenes cannot be rendered at `scale`.

        That is so if it is not a positive number, makes an object smaller than a pixel, or puts it
        off its canvas.
        """
        check_scale(scale)
        if bool((scale * self.extent > self.room + SLACK).any()):
            raise SceneError(
                f"at scale {scale:g} an object would leave its canvas; the largest scale of these "
                f"scenes is {rounded(self.largest_scale, math.floor):.3g}"
            )
        if scale < self.smallest_scale * (1 - 1e-6):
            raise SceneError(
                f"at scale {scale:g} an object would be smaller than a pixel; the smallest scale "
                f"of these scenes is {rounded(self.smallest_scale, math.ceil):.3g}"
            )

    def render(self, scale: float) -> Tensor:
        """Render every scene with its object at `scale`: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If that cannot be, see `check`.
        """
        self.check(scale)
        return compose(self.objects, self.backgrounds, self.centre, scale * self.reference)


def areas(scenes: Source) -> Tensor:
    """Share of each scene that its object covers at scale 1, (N,); NaN if that is not known."""
    if not isinstance(scenes, Scenes):
        return torch.full((len(scenes),), torch.nan)
    alpha, side = scenes.objects[:, 3], scenes.reference / scenes.backgrounds.shape[-1]
    return alpha.sum((1, 2)) * (side / max(alpha.shape[-2:])) ** 2


def place(
    objects: cutouts.Objects,
    *,
    canvas: int = 96,
    reference: float = 0.5,
    position: tuple[float, float] = (0.0, 0.0),
    rotation: float = 0.0,
    backgrounds: Tensor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Scenes:
    """Place each object on a background of its own.

    Parameters
    ----------
    objects
        N cut-outs.
    canvas
        Side of the scenes in pixels.
    reference
        The object's side at scale 1, as a fraction of the canvas: with 0.5, scale 2 fills it.
    position
        Offset (y, x) of the objects' middle from the canvas' middle, as fractions of the canvas.
    rotation
        Clockwise, in degrees.
    backgrounds
        (N, 3, canvas, canvas) in 0…1, or (1, 3, …) for all; by default scene i gets the procedural
        background of seed `seed` × 1,000,003 + i.
    seed
        For the backgrounds.
    device
        Where scenes are rendered.

    Raises
    ------
    SceneError
        If the backgrounds have another shape, an object's middle is off the canvas, the reference
        is not positive or the rotation not finite.
    DataError
        If the backgrounds are not floats in 0…1.
    """
    count = len(objects)
    made = step(
        "skviz.place",
        canvas=canvas,
        reference=reference,
        position=position,
        rotation=rotation,
        backgrounds=backgrounds,
        seed=seed if backgrounds is None else None,
    )
    if not (math.isfinite(reference) and reference > 0):
        raise SceneError(f"reference must be a positive fraction of the canvas, got {reference}")
    if not math.isfinite(rotation):
        raise SceneError(f"rotation must be a finite number of degrees, got {rotation}")
    middle = torch.tensor([[(0.5 + offset) * canvas for offset in position]], device=device)
    if not bool(((middle > 0) & (middle < canvas)).all()):
        raise SceneError(f"position {position} is off the canvas; offsets lie between -0.5 and 0.5")
    if backgrounds is None:
        backgrounds = procedural([seed * 1_000_003 + i for i in range(count)], canvas)
    if backgrounds.shape[1:] != (3, canvas, canvas) or len(backgrounds) not in (1, count):
        raise SceneError(
            f"backgrounds must be ({count} or 1, 3, {canvas}, {canvas}), got "
            f"{tuple(backgrounds.shape)}"
        )
    checked_images(backgrounds, "backgrounds")
    cut_outs = premultiplied(objects.rgba.to(device))
    side = torch.full((count,), reference * canvas, device=device)
    if rotation:
        turn = rotation_matrix(torch.tensor([float(rotation)], device=device))
        cut_outs, growth = warp(cut_outs, turn.expand(count, 2, 2))
        side = side * growth
    return Scenes(
        cut_outs,
        backgrounds.to(device).expand(count, -1, -1, -1),
        side,
        middle.expand(count, 2),
        objects.category,
        objects.ids,
        {
            "protocol": "rescale",
            "canvas": canvas,
            "reference": reference,
            "position": list(position),
            "rotation": rotation,
            "seed": seed,
            "made": [*objects.made, made],
        },
    )
