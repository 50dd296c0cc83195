"""Scenes in which several things change at once: the cells of a factorial experiment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from torch import Tensor

from skviz.scenes.changes import Changed, background, repeated
from skviz.scenes.drawing import centred
from skviz.scenes.layers import SLACK, Layers
from skviz.scenes.made import step
from skviz.scenes.ready import Ready

if TYPE_CHECKING:
    import numpy as np

    from skviz.scenes.source import Scenes, Source


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


def fits(longest: float, canvas: int, cell: Cell) -> bool:
    """Whether copies of an object that is so long at scale 1 fit a canvas, in a grid."""
    rows = math.ceil(math.sqrt(cell.copies))
    return rows * cell.size * longest <= canvas + SLACK


@dataclass(frozen=True, eq=False)
class Crossed(Ready):
    """Scenes as every cell has them: scale 0 is the first cell, 1 the second, and so on."""

    shown: Ready
    cells: tuple[Cell, ...]
    parts = ("shown",)

    @property
    def bounds(self) -> tuple[float, float]:
        """From the first cell to the last."""
        return 0.0, len(self.cells) - 1.0

    @property
    def content(self) -> np.ndarray:
        """(N,) as of the scenes that are shown."""
        return self.shown.content

    @property
    def areas(self) -> Tensor:
        """(N,) as of the scenes that are shown."""
        return self.shown.areas

    def render(self, scale: float) -> Tensor:
        """Render every scene as the cell of this number has it."""
        return drawn(self.shown, self.cells[round(scale)])

    def mask(self, scale: float) -> Tensor | None:
        """How much of each pixel is object, whatever the blur; None if not known."""
        if self.shown.layers is None:
            return None
        plain = replace(self.cells[round(scale)], blur=1.0, background=1.0)
        return drawn(self.shown.layers.white, plain)[:, 0]


def crossed(scenes: Scenes, wanted: Sequence[Cell]) -> Scenes:
    """Return scenes whose scale is the number of a cell."""
    change = partial(read, cells=tuple(wanted))
    call = step("crossed", cells=[list(asdict(cell).values()) for cell in wanted])
    return scenes.on(Changed(scenes.source, change, ""), call)


def read(source: Source, places: Sequence[int], *, cells: tuple[Cell, ...]) -> Crossed:
    """Read scenes, to be shown as cells have them."""
    return Crossed(source.ready(places), cells)


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
