"""The shipped cut-outs, and their placing on backgrounds."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import repeat
from typing import Any, Self

import torch
from torch import Tensor

from skviz.assets import names_in, read_image
from skviz.errors import DataError, SceneError, Seed, Side, entrance
from skviz.scenes.backgrounds import fitted, procedural
from skviz.scenes.chosen import Chosen
from skviz.scenes.drawing import premultiplied, rotation_matrix, warp
from skviz.scenes.layers import Layers
from skviz.scenes.made import Made, step
from skviz.scenes.source import CANVAS, Scenes

TRAIN_FAMILIES = ("noto", "twemoji", "emojione", "fluent")
HELD_OUT_FAMILIES = ("noto-v1", "fxemoji")


@dataclass(frozen=True, eq=False, repr=False)
class Objects(Chosen):
    """Cut-outs with their names.

    Attributes
    ----------
    rgba
        uint8 (N, 4, H, W), straight (not premultiplied) alpha.
    category, family
        What each one shows, and whose design it is; N strings each.
    made
        How they were chosen.
    """

    rgba: Tensor
    category: tuple[str, ...]
    family: tuple[str, ...]
    made: Made = ()

    def __post_init__(self) -> None:
        given: Any = self.rgba
        kind, shape = getattr(given, "dtype", None), tuple(getattr(given, "shape", ()))
        if kind != torch.uint8 or len(shape) != 4 or shape[1] != 4 or self.rgba.is_meta:
            raise DataError(f"objects must be a uint8 RGBA tensor (N, 4, H, W), got {kind} {shape}")
        if not len(self.rgba) == len(self.category) == len(self.family):
            raise DataError(
                f"{len(self.rgba)} cut-outs need as many categories and families, got "
                f"{len(self.category)} and {len(self.family)}"
            )

    __repr__ = Chosen.__repr__

    def _replaced(self, places: Sequence[int], **names: Any) -> Self:
        del names["ids"]  # made of the others
        return replace(self, rgba=self.rgba[list(places)], **names)

    @property
    def ids(self) -> tuple[str, ...]:
        """``family/category`` of each object."""
        return tuple(f"{f}/{c}" for f, c in zip(self.family, self.category, strict=True))

    @property
    def categories(self) -> tuple[str, ...]:
        """The distinct categories, sorted: the class order of the shipped networks."""
        return tuple(sorted(set(self.category)))


@cache
def all_objects() -> Objects:
    """Read every shipped cut-out once."""
    names = names_in("objects", ".webp")
    parts = [name.removesuffix(".webp").split("/") for name in names]
    with ThreadPoolExecutor() as pool:  # decoders let go of Python's lock
        pictures = list(pool.map(read_image, names, repeat("RGBA")))
    return Objects(
        torch.stack(pictures),
        tuple(category for _, _, category in parts),
        tuple(family for _, family, _ in parts),
        (step("skviz.objects"),),
    )


@entrance
def objects(
    *, category: Iterable[str] | None = None, family: Iterable[str] | None = None
) -> Objects:
    """Return the shipped cut-outs: 67 categories, each drawn by six design families.

    Parameters
    ----------
    category, family
        Keep only these (a name or several). The shipped networks never saw the families
        ``"noto-v1"`` and ``"fxemoji"``.

    Raises
    ------
    DataError
        If a name does not exist, no object is left, or a file is missing or altered.

    Examples
    --------
    >>> import skviz
    >>> skviz.objects(category="bus", family=["fxemoji", "noto-v1"]).ids
    ('fxemoji/bus', 'noto-v1/bus')
    """
    if category is None and family is None:
        return all_objects()
    return all_objects().where(category=category, family=family)


@entrance
def place(
    objects: Objects,
    *,
    canvas: Side = CANVAS,
    reference: float = 0.5,
    position: tuple[float, float] = (0.0, 0.0),
    rotation: float = 0.0,
    backgrounds: Tensor | None = None,
    seed: Seed = 0,
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

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), canvas=64, seed=1)
    >>> scenes.render(0.5).shape  # (image, 3, y, x), in 0…1
    torch.Size([6, 3, 64, 64])
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
    if reference <= 0:
        raise SceneError(f"reference must be a positive fraction of the canvas, got {reference}")
    if not all(abs(offset) < 0.5 for offset in position):
        raise SceneError(f"position {position} is off the canvas; offsets lie between -0.5 and 0.5")
    if backgrounds is None:
        backgrounds = procedural([seed * 1_000_003 + i for i in range(count)], canvas)
    try:
        middle = torch.tensor([[(0.5 + offset) * canvas for offset in position]], device=device)
        middle.tolist()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        raise SceneError(f"nothing can be drawn on device {device!r} ({error})") from error
    cut_outs = premultiplied(objects.rgba.to(device))
    side = torch.full((count,), reference * canvas, device=device)
    if rotation:
        turn = rotation_matrix(torch.tensor([float(rotation)], device=device))
        cut_outs, growth = warp(cut_outs, turn.expand(count, 2, 2))
        side = side * growth
    layers = Layers(
        cut_outs,
        fitted(backgrounds, count, canvas).to(device),
        side,
        middle.expand(count, 2),
        objects.ids,
        tuple(range(count)),
    )
    return Scenes(
        source=layers,
        ids=objects.ids,
        category=objects.category,
        family=objects.family,
        protocol="rescale",
        canvas=canvas,
        made=(*objects.made, made),
        places=tuple(range(count)),
    )
