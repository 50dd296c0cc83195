"""Scenes in which several things change at once: the cells of a factorial experiment."""

import math
from dataclasses import dataclass, replace
from itertools import product

from torch import Tensor

from skviz.scenes.changes import background, repeated
from skviz.scenes.drawing import centred
from skviz.scenes.layers import SLACK, Layers
from skviz.scenes.ready import Ready


@dataclass(frozen=True)
class Cell:
    """One combination of levels.

    Attributes
    ----------
    size
        The scale at which each object is drawn, or the zoom of a photograph.
    copies
        How many times each object is there.
    blur
        By how much the picture's cut-off frequency is lowered; 1 leaves it as it is.
    background
        By how much the background is enlarged.
    scattered
        Whether objects lie at random places, rather than one where it is, and several on a grid.
    """

    size: float = 1.0
    copies: int = 1
    blur: float = 1.0
    background: float = 1.0
    scattered: bool = False


def cells(**levels: list[float]) -> list[Cell]:
    """Cross the levels of factors."""
    return [Cell(**dict(zip(levels, each, strict=True))) for each in product(*levels.values())]  # type: ignore[arg-type]


def fits(layers: Layers, cell: Cell) -> bool:
    """Whether on a grid the copies of every object lie beside each other on the canvas."""
    rows = math.ceil(math.sqrt(cell.copies))
    longest = cell.size * layers.extent.sum(2).amax()
    return bool(rows * longest <= layers.backgrounds.shape[-1] + SLACK)


def drawn(scenes: Ready, cell: Cell) -> Tensor:
    """Render every scene as a cell has it: (N, 3, S, S) in 0…1.

    Without layers, such as a photograph that is enlarged, a picture has a size and a blur alone.
    """
    layers = scenes.layers
    images = scenes.render(cell.size) if layers is None else placed(layers, cell)
    return images if cell.blur == 1 else coarse(images, cell.blur)


def placed(layers: Layers, cell: Cell) -> Tensor:
    """Draw objects as often, as large and where a cell has them."""
    if cell.background != 1:
        larger = background(layers, [1.0]).render(cell.background)
        layers = replace(layers, backgrounds=larger)
    side = cell.size * layers.reference
    return repeated(layers, cell.copies, side, scattered=cell.scattered)


def coarse(images: Tensor, blur: float) -> Tensor:
    """Take from pictures (N, 3, S, S) the detail that fewer pixels by that factor cannot hold."""
    canvas = images.shape[-1]
    few = max(1, round(canvas / blur))
    return centred(centred(images, few, few), canvas, canvas).clamp(0, 1)
