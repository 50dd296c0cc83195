"""Scenes in which something else changes than the size of an object: the controls of a sweep.

Each takes objects and backgrounds and the scales of a sweep and gives scenes for the same sweep,
image by image, so that the comparison is paired.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes.drawing import centred, compose
from skviz.scenes.layers import VISIBLE, Layers
from skviz.scenes.made import step

if TYPE_CHECKING:
    from skviz.scenes.ready import Ready
    from skviz.scenes.source import Scenes, Source


KNOWN = (
    "this changes the object, so it needs scenes that know it: skviz.place, or "
    "skviz.photographs(…, masks=…).cut_out()"
)
LARGEST = 2 / 3  # of the canvas: the side of the one object that many small ones are compared with
TRIES = 32  # places that are tried for every scattered copy


@dataclass(frozen=True, eq=False)
class Changed:
    """Scenes of another source in which something was changed.

    Attributes
    ----------
    source
        The other one.
    change
        Reads some of its scenes, changed.
    name
        Of the change; none if it leaves open how scenes are shown.
    """

    source: Source
    change: Callable[[Source, Sequence[int]], Ready]
    name: str

    @property
    def threads(self) -> int:
        """As many as of the source."""
        return self.source.threads

    def ready(self, places: Sequence[int]) -> Ready:
        """Read the scenes at these places, changed."""
        return self.change(self.source, places)

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of a hash of what makes each of these what it is, and of the change."""
        return self.source.contents(places) ^ np.uint64(zlib.crc32(self.name.encode()))


def layers_of(source: Source, places: Sequence[int]) -> Layers:
    """Read scenes whose object can be changed, or raise `SceneError`."""
    found = source.ready(places).layers
    if found is None:
        raise SceneError(KNOWN)
    return found


def recombined(
    scenes: Scenes, *, backgrounds: Sequence[int] = (), objects: Sequence[int] = ()
) -> Scenes:
    """Give scenes the backgrounds or the objects of others among them, by their places.

    Raises
    ------
    SceneError
        If objects and backgrounds are not known apart, or a background is no other one.
    """

    def by_place(others: Sequence[int]) -> dict[int, int]:
        return dict(zip(scenes.places, (scenes.places[i] for i in others), strict=False))

    call = step("recombined", backgrounds=backgrounds, objects=objects)
    change = partial(exchanged, objects=by_place(objects), backgrounds=by_place(backgrounds))
    made = altered(scenes, change, repr(call), call)
    if not scenes.source.threads:
        made.ready()  # complain now
    return made


def altered(
    scenes: Scenes,
    change: Callable[[Source, Sequence[int]], Layers],
    name: str,
    call: dict[str, Any],
) -> Scenes:
    """Return scenes in which something is changed, if it is known where their objects are."""
    if scenes.protocol != "rescale":
        raise SceneError(KNOWN)
    return scenes.on(Changed(scenes.source, change, name), call)


def exchanged(
    source: Source,
    places: Sequence[int],
    *,
    objects: Mapping[int, int],
    backgrounds: Mapping[int, int],
) -> Layers:
    """Read scenes with the object or the background of others, by place."""
    made = layers_of(source, places)
    if backgrounds:
        others = layers_of(source, [backgrounds[place] for place in places])
        if bool((others.backgrounds == made.backgrounds).flatten(1).all(1).any()):
            raise SceneError("these scenes have no different backgrounds to be swapped")
        made = replace(made, backgrounds=others.backgrounds)
    if objects:
        others = layers_of(source, [objects[place] for place in places])
        made = replace(made, objects=others.objects)
    return made


def changed(scenes: Scenes, name: str, scales: Sequence[float]) -> Scenes:
    """Return the scenes of a control; see `Scenes.changed`."""
    if name not in CONTROL_SCENES:
        raise SceneError(f"no control {name!r}; there are {', '.join(CONTROL_SCENES)}")

    def change(source: Source, places: Sequence[int]) -> Layers:
        return CONTROL_SCENES[name](layers_of(source, places), scales)

    return altered(scenes, change, name, step("changed", control=name, scales=scales))


def redrawn(draw: Callable[..., Tensor]) -> Callable[..., Layers]:
    """Have scenes be drawn at each scale by a function of them, that scale and all scales."""

    @wraps(draw)
    def change(scenes: Layers, scales: Sequence[float], **options: bool) -> Layers:
        return replace(scenes, draw=partial(draw, scales=scales, **options))

    return change


def scrambled(scenes: Layers, scales: Sequence[float]) -> Layers:  # noqa: ARG001
    """Put the pixels inside each object in random order; outline, area and colours stay."""
    objects = scenes.objects.clone()
    for number, cut_out in zip(scenes.numbers, objects, strict=True):
        alpha = cut_out[3]
        inside = alpha > VISIBLE
        straight = cut_out[:3, inside] / alpha[inside]  # (3, visible pixels)
        generator = torch.Generator().manual_seed(number)
        order = torch.randperm(straight.shape[1], generator=generator).to(straight.device)
        cut_out[:3, inside] = straight[:, order] * alpha[inside]
    return replace(scenes, objects=objects)


def silhouette(scenes: Layers, scales: Sequence[float]) -> Layers:  # noqa: ARG001
    """Fill each object's outline with its mean colour."""
    colour = scenes.objects[:, :3].sum((2, 3), keepdim=True)
    alpha = scenes.objects[:, 3:]
    mean = colour / alpha.sum((2, 3), keepdim=True).clamp(min=1e-6)  # (N, 3, 1, 1)
    return replace(scenes, objects=torch.cat([mean * alpha, alpha], 1))


@redrawn
def blur(scenes: Layers, scale: float, scales: Sequence[float]) -> Tensor:
    """Keep the object at its size at scale 1; only its detail grows coarser, as if it grew."""
    size = scenes.objects.shape[-1]
    # Pixels that the object has at scale 1, fewer by as much as it would have grown.
    few = max(1, round(float(scenes.reference.max()) * scales[0] / scale))
    coarse = centred(scenes.objects, few, few, edge=False)  # (N, 4, few, few)
    objects = centred(coarse, size, size, edge=False).clamp(0, 1)  # (N, 4, h, w)
    return compose(objects, scenes.backgrounds, scenes.centre, scenes.reference)


@redrawn
def background(scenes: Layers, scale: float, scales: Sequence[float]) -> Tensor:
    """Leave the object out and enlarge the background, as much as the object would be."""
    canvas = scenes.backgrounds.shape[-1]
    return centred(scenes.backgrounds, canvas, canvas * scale / scales[0]).clamp(0, 1)


@redrawn
def position(scenes: Layers, scale: float, scales: Sequence[float]) -> Tensor:
    """Keep the object at its size at scale 1 and move it from where it is to the border."""
    canvas = scenes.backgrounds.shape[-1]
    right = scenes.extent[:, 1, 1].to(scenes.centre)  # (N,) from the centre to its right end
    room = (canvas - scenes.centre[:, 1] - right).clamp(min=0)
    span = scales[-1] - scales[0]
    moved = scenes.centre.clone()
    moved[:, 1] += room * ((scale - scales[0]) / span if span else 0)
    return compose(scenes.objects, scenes.backgrounds, moved, scenes.reference)


@redrawn
def copies(
    scenes: Layers, scale: float, scales: Sequence[float], *, scattered: bool = False
) -> Tensor:
    """Keep the object at its size at the first scale and show as many as cover what growth would.

    Where it would be n times as long there are n² copies, rounded; they cover as much.
    """
    count = round((scale / scales[0]) ** 2)
    return repeated(scenes, count, scales[0] * scenes.reference, scattered=scattered)


@redrawn
def size(
    scenes: Layers, scale: float, scales: Sequence[float], *, scattered: bool = False
) -> Tensor:
    """Have the object grow as it does, from many to one, so that coverage stays the same.

    At the last scale it is one, as large as there but at most two thirds of the canvas long, so
    that a margin and more than half of the background are left; where it is n times as small
    there are n² copies, rounded.
    """
    canvas = scenes.backgrounds.shape[-1]
    most = (scales[-1] * scenes.reference).clamp(max=LARGEST * canvas)
    count = round((scales[-1] / scale) ** 2)
    return repeated(scenes, count, most * scale / scales[-1], scattered=scattered)


def repeated(scenes: Layers, count: int, side: Tensor, *, scattered: bool) -> Tensor:
    """Draw every object several times, each (N,) pixels long: on a grid, or at random places.

    A single one on a grid lies where the object of the scene lies. None leaves the canvas.
    """
    canvas = scenes.backgrounds.shape[-1]
    extent = scenes.extent.to(side) * (side / scenes.reference)[:, None, None]  # (N, 2, 2) pixels
    lowest, highest = extent[..., 0], canvas - extent[..., 1]  # (N, 2) where a middle may be
    if scattered:
        places = torch.stack([apart(name, count) for name in scenes.ids]).to(side)  # (N, K, 2)
        centres = lowest[:, None] + places * (highest - lowest).clamp(min=0)[:, None]
    elif count == 1:
        centres = scenes.centre[:, None]
    else:
        cells = math.ceil(math.sqrt(count))
        grid = torch.arange(cells * cells)[:count]
        rows = torch.stack([grid // cells, grid % cells], 1).to(side) + 0.5
        centres = (rows * canvas / cells).expand(len(scenes), -1, -1)
    images = scenes.backgrounds
    for number in range(count):
        centre = torch.maximum(torch.minimum(centres[:, number], highest), lowest)
        images = compose(scenes.objects, images, centre, side)
    return images


def apart(name: str, count: int) -> Tensor:
    """Random places (K, 2) in 0…1, each the one of `TRIES` that is farthest from those before.

    Mitchell's best candidates (SIGGRAPH 1991), with the distance of squares; the same name gives
    the same places.
    """
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    chosen = torch.rand((1, 2), generator=generator)
    while len(chosen) < count:
        tried = torch.rand((TRIES, 2), generator=generator)
        distance = (tried[:, None] - chosen).abs().amax(2).amin(1)  # (try,) to the nearest
        chosen = torch.cat([chosen, tried[distance.argmax()][None]])
    return chosen


CONTROL_SCENES: dict[str, Callable[..., Layers]] = {
    "scrambled": scrambled,
    "silhouette": silhouette,
    "blur": blur,
    "background": background,
    "position": position,
    "copies": copies,
    "copies scattered": partial(copies, scattered=True),
    "size": size,
    "size scattered": partial(size, scattered=True),
}
