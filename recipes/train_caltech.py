"""The recipes of the network `caltech`, and of the networks that it is compared with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.caltech import CATEGORIES, files, packed
from recipes.train import Batches, Training
from recipes.train_objects import colour_maps
from skviz.models.nn import SKConv, SKNet
from skviz.scenes.drawing import resampling_matrix

__all__ = ["RECIPES", "CaltechRecipe"]

ENDS = ("", "-seed1", "-seed2")
NETWORK: Mapping[str, Any] = {
    "depths": (2, 2, 2, 2),
    "widths": (32, 64, 128, 256),
    "stem_channels": 32,
    "stem_stride": 2,
    "groups": 2,
    "kernels": (3, 5),
}


@dataclass(frozen=True, kw_only=True)
class CaltechRecipe(Training):
    """Photographs of Caltech-101 in random crops, resized, mirrored or not, their colours changed.

    Attributes
    ----------
    root
        Folder of the photographs.
    smallest
        Of a crop, as a fraction of the photograph's area; up to the whole, drawn uniformly.
    mixed
        Half of the images are mixed with another, of a weight between 0 and this, and so are
        their labels (mixup, Zhang et al. 2018).
    fixed
        Whether all branches have the weight 1/M, in training and after.
    """

    name: str = "caltech"
    network: dict[str, Any] = field(default_factory=lambda: dict(NETWORK))
    steps: int = 12000
    root: str = "caltech101"
    smallest: float = 0.1
    mixed: float = 0.5
    fixed: bool = False

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return CATEGORIES

    def prepare(self, network: SKNet) -> None:
        """If the selection is fixed, make all its logits 0, which they then stay."""
        for module in network.modules():
            if self.fixed and isinstance(module, SKConv):
                torch.nn.init.zeros_(module.select.weight)
                module.select.requires_grad_(requires_grad=False)

    def batches(self, where: torch.device) -> Batches:
        """Return what makes the images and labels of a step."""
        paths, labels = zip(*files(Path(self.root), test=False), strict=True)
        photographs, sizes = packed(list(paths))
        classes = torch.tensor(labels)
        odds = classes.bincount().float().rsqrt()[classes]  # of being chosen: 1 / √(its class)
        material = photographs.to(where), sizes, classes, odds
        return lambda step, share: self.crops(*material, step, share)

    def crops(
        self,
        photographs: Tensor,
        sizes: Tensor,
        classes: Tensor,
        odds: Tensor,
        step: int,
        share: slice = slice(None),
    ) -> tuple[Tensor, Tensor]:
        """Make the images (batch, 3, canvas, canvas) in 0…1 and labels of one step, or a share.

        Labels are probabilities, (batch, class).
        """
        where = photographs.device
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        chosen = torch.multinomial(odds, self.batch, replacement=True, generator=generator)
        u = torch.rand((self.batch, 10), generator=generator)
        other = torch.randperm(self.batch, generator=generator)
        span = sizes[chosen].float()  # (batch, 2) height and width
        area = self.smallest + (1 - self.smallest) * u[:, 0]
        aspect = ((2 * u[:, 1] - 1) * math.log(4 / 3)).exp()  # width ÷ height of the crop
        side = (area * span.prod(1)).sqrt()[:, None] * torch.stack([aspect**-0.5, aspect**0.5], 1)
        side = side.minimum(span)
        corner = u[:, 2:4] * (span - side)
        images = photographs[chosen.to(where)].float() / 255
        step_in = (side / self.canvas).to(where)  # source pixels per canvas pixel
        middle = (photographs.shape[-1] / 2 - corner.to(where)) / step_in
        rows, columns = (
            resampling_matrix(
                photographs.shape[-1], self.canvas, middle[:, axis], step_in[:, axis], edge=True
            )
            for axis in (0, 1)
        )
        images = rows[:, None] @ images @ columns[:, None].mT  # (batch, 3, canvas, canvas)
        v = u.to(where)
        images = torch.where(v[:, 4, None, None, None] < 0.5, images.flip(3), images)
        images = torch.einsum("nij,njhw->nihw", colour_maps(v[:, 5:8] * 0.5 + 0.25), images)
        images = images + 0.2 * v[:, 8, None, None, None] - 0.1
        images = images.clamp(0, 1)
        labels = F.one_hot(classes[chosen], len(CATEGORIES)).float().to(where)
        weight = self.mixed * (2 * v[:, 9:] - 1).clamp(min=0)
        images = torch.lerp(images, images[other.to(where)], weight[..., None, None])
        labels = torch.lerp(labels, labels[other.to(where)], weight)
        return images[share], labels[share]


FIRST = CaltechRecipe()
TWIN = dict(NETWORK) | {"kernels": (3, 3)}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        *(replace(FIRST, name=f"caltech{end}", seed=seed) for seed, end in enumerate(ENDS)),
        *(
            replace(FIRST, name=f"caltech-twin{end}", network=TWIN, seed=seed)
            for seed, end in enumerate(ENDS)
        ),
        replace(FIRST, name="caltech-fixed", fixed=True),
    )
}
