"""The recipes of the shipped networks `objects` and `objects-3`, and the scenes they saw."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from recipes.crops import crops
from recipes.train import Batches, Training
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import procedural, real_backgrounds
from skviz.scenes.drawing import compose, premultiplied, warp

__all__ = ["RECIPES", "Recipe", "Studio", "training_scenes"]


@dataclass(frozen=True, kw_only=True)
class Recipe(Training):
    """Drawn objects on backgrounds, at any scale.

    Attributes
    ----------
    smallest, largest
        The object's side as a fraction of the canvas, drawn log-uniformly.
    families
        The design families seen.
    """

    smallest: float = 0.22
    largest: float = 1.0
    families: tuple[str, ...] = cutouts.TRAIN_FAMILIES

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return cutouts.objects().categories

    def batches(self, where: torch.device) -> Batches:
        """Return what makes the images and labels of a step."""
        studio = Studio.of(self, where)
        return lambda step, share: training_scenes(studio, step, share)


# Two groups, not the paper's 32: with fewer than 16 channels per group, oneDNN's bfloat16 gradient
# of a dilated channels_last convolution on a large map is not finite (torch 2.15, AVX-512 CPU).
SMALL: dict[str, Any] = {
    "depths": (2, 2, 2),
    "widths": (32, 64, 128),
    "stem_channels": 32,
    "stem_stride": 2,
    "groups": 2,
}
RECIPES = {
    "objects": Recipe(name="objects", network=SMALL | {"kernels": (3, 5)}),
    "objects-3": Recipe(name="objects-3", network=SMALL | {"kernels": (3, 5, 7)}),
}


@dataclass(frozen=True, eq=False)
class Studio:
    """The material that training scenes are made of, on one device."""

    recipe: Recipe
    cut_outs: Tensor  # premultiplied (N, 4, 128, 128)
    labels: Tensor  # (N,)
    pictures: list[Tensor] = field(default_factory=list)

    @classmethod
    def of(cls, recipe: Recipe, where: torch.device) -> "Studio":
        """Load the training families and backgrounds of a recipe."""
        objects = cutouts.objects(family=recipe.families)
        order = {name: index for index, name in enumerate(cutouts.objects().categories)}
        labels = torch.tensor([order[name] for name in objects.category])
        pictures = list(real_backgrounds(held_out=False).values())
        return cls(recipe, premultiplied(objects.rgba).to(where), labels.to(where), pictures)


def linear_maps(u: Tensor) -> Tensor:
    """Random rotation within ±15°, aspect within ±15 %, shear within ±0.1, mirrored or not.

    Parameters
    ----------
    u
        (N, 4) uniform numbers.

    Returns
    -------
    Tensor
        (N, 2, 2).
    """
    angle = torch.deg2rad(30 * u[:, 0] - 15)
    aspect = (0.3 * u[:, 1] - 0.15).exp()
    shear = 0.2 * u[:, 2] - 0.1
    mirror = torch.where(u[:, 3] < 0.5, -1.0, 1.0)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack([cos, -sin, sin, cos], -1).unflatten(-1, (2, 2))
    stretch = torch.stack([mirror * aspect, shear, zero, 1 / aspect], -1).unflatten(-1, (2, 2))
    return turn @ stretch


def colour_maps(u: Tensor) -> Tensor:
    """Random changes of hue, saturation and brightness, as matrices on (red, green, blue).

    Parameters
    ----------
    u
        (N, 3) uniform numbers.

    Returns
    -------
    Tensor
        (N, 3, 3). A linear map without offset keeps premultiplied colours premultiplied.
    """
    hue = math.pi * (u[:, 0] - 0.5) ** 3 * 8  # mostly small, rarely up to ±180°
    saturation = 0.4 + 0.9 * u[:, 1]
    brightness = 0.7 + 0.6 * u[:, 2]
    grey = torch.full((3, 3), 1 / 3, device=u.device)  # projects onto the grey axis
    root = 1 / math.sqrt(3)
    cross = torch.tensor([[0, -root, root], [root, 0, -root], [-root, root, 0]], device=u.device)
    eye = torch.eye(3, device=u.device)
    chroma = hue.cos()[:, None, None] * (eye - grey) + hue.sin()[:, None, None] * cross
    return brightness[:, None, None] * (grey + saturation[:, None, None] * chroma)


def training_scenes(studio: Studio, step: int, share: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Make the scenes of one step, or a share of them.

    Returns
    -------
    tuple of Tensor
        Images (batch, 3, canvas, canvas) in 0…1 and labels (batch,), or as many as the share has.
    """
    recipe, where = studio.recipe, studio.cut_outs.device
    count, canvas = recipe.batch, recipe.canvas
    seed = recipe.seed * 1_000_003 + step
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(studio.labels), (count,), generator=generator)[share].to(where)
    u = torch.rand((count, 14), generator=generator)[share].to(where)
    noise = torch.randn((count, 3, canvas, canvas), generator=generator)[share].to(where)

    seeds = [seed * count + i for i in range(count)[share]]
    backgrounds = procedural(seeds, canvas, device=where)
    real = u[:, 0] < 0.4
    if studio.pictures and bool(real.any()):
        taken = crops(
            studio.pictures, [s for s, yes in zip(seeds, real, strict=True) if yes], canvas
        )
        backgrounds[real] = taken.to(where)

    cut_outs = studio.cut_outs[chosen]
    colour = torch.einsum("nij,njhw->nihw", colour_maps(u[:, 1:4]), cut_outs[:, :3])
    colour = torch.minimum(colour.clamp(min=0), cut_outs[:, 3:])
    objects, growth = warp(torch.cat([colour, cut_outs[:, 3:]], 1), linear_maps(u[:, 4:8]))
    span = math.log(recipe.largest / recipe.smallest)
    side = canvas * recipe.smallest * (span * u[:, 8]).exp()  # (batch,) pixels
    centre = side[:, None] / 2 + u[:, 9:11] * (canvas - side[:, None])
    images = compose(objects, backgrounds, centre, side * growth)

    contrast, offset = 0.7 + 0.6 * u[:, 11], 0.2 * u[:, 12] - 0.1
    images = (images - 0.5) * contrast[:, None, None, None] + 0.5 + offset[:, None, None, None]
    images = images + 0.06 * u[:, 13, None, None, None] * noise
    return images.clamp(0, 1), studio.labels[chosen]
