"""What the explorer can show, as scenes, and the Python that makes the same scenes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch

from skviz.errors import SceneError
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import procedural
from skviz.scenes.cutouts import place
from skviz.scenes.photographs import Photographs, photographs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from skviz.scenes.source import Scenes

__all__ = [
    "NATURAL",
    "OWN",
    "YOURS",
    "Item",
    "Setting",
    "backgrounds",
    "items",
    "photograph",
]

OWN = "its own"
NATURAL = "natural"
SEEDS = range(1, 5)  # of the procedural backgrounds on offer
FINE = 4  # a scene to be zoomed is composed at this many times the canvas
YOURS = "your pictures"


@dataclass(frozen=True)
class Setting:
    """What a view is of.

    Attributes
    ----------
    protocol, background, position
        How the item is shown; ``position`` is the object's offset (y, x) in canvases.
    network, item
        By name.
    intervention, only
        See `skviz.explorer.grid.Subject.changes`.
    """

    protocol: str = "rescale"
    background: str = OWN
    position: tuple[float, float] = (0.0, 0.0)
    network: str = ""
    item: str = ""
    intervention: str = NATURAL
    only: str = ""

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Setting:
        """Take what travels to the browser and back."""
        y, x = named["position"]
        return cls(**{**named, "position": (float(y), float(x))})

    @property
    def named(self) -> dict[str, Any]:
        """What travels to the browser."""
        return asdict(self) | {"position": list(self.position)}


@dataclass(frozen=True)
class Item:
    """One thing to look at.

    Attributes
    ----------
    name, category, family
        Its unique name; what it is; whose design.
    make, code
        From the canvas in pixels to one scene with the object in its own place, and to the Python
        expression that makes the same.
    protocols
        Those in which it can be shown.
    picture, origin
        The photograph that the zoom protocol enlarges, and the expression that makes it; without
        one, the scene itself is enlarged.
    """

    name: str
    category: str
    family: str
    make: Callable[[int], Scenes]
    code: Callable[[int], str]
    protocols: tuple[str, ...] = ("rescale", "zoom")
    picture: Photographs | None = None
    origin: str = ""

    def scenes(self, setting: Setting, canvas: int) -> Scenes:
        """Return the one scene of a setting.

        Raises
        ------
        SceneError
            If the object's middle would be off the canvas, or there is no such protocol.
        """
        if setting.protocol not in self.protocols:
            raise SceneError(
                f"{self.name} can be shown by {self.protocols}, not {setting.protocol}"
            )
        if setting.protocol == "zoom" and self.picture is not None:
            return self.picture.zoom(canvas=canvas).loaded()
        scenes = self.make(self._fine(setting, canvas)).loaded()
        if any(setting.position):
            scenes = scenes.moved(*setting.position)
        if setting.background != OWN:
            scenes = scenes.against(backgrounds()[setting.background](scenes.canvas))
        if setting.protocol == "zoom" and len(self.protocols) > 1:
            seen = {self.name: (scenes.render(1.0)[0] * 255).round().byte()}
            return photographs(seen, category=self.category).zoom(canvas=canvas).loaded()
        return scenes

    def python(self, setting: Setting, canvas: int) -> list[str]:
        """Return the lines of Python that make the same ``scenes``."""
        fine = self._fine(setting, canvas)
        lines = []
        if setting.protocol == "rescale" or self.picture is None:
            lines.append(f"scenes = {self.code(fine)}")
            if any(setting.position):
                y, x = setting.position
                lines.append(f"scenes = scenes.moved({y}, {x})")
            lines += self._background(setting.background)
        if setting.protocol == "zoom" and self.picture is not None:
            lines.append(f"scenes = {self.origin}.zoom(canvas={canvas})")
        elif setting.protocol == "zoom" and len(self.protocols) > 1:
            lines.append(
                f"picture = {{{self.name!r}: (scenes.render(1.0)[0] * 255).round().byte()}}"
            )
            given = f"picture, category={self.category!r}"
            lines.append(f"scenes = skviz.photographs({given}).zoom(canvas={canvas})")
        return lines

    def _background(self, name: str) -> list[str]:
        kind, _, which = name.partition(" ")
        if name == OWN:
            return []
        if kind == "procedural":
            return [f"scenes = scenes.against(procedural([{which}], scenes.canvas))"]
        return [
            f"background = skviz.photographs(cutouts.real_backgrounds()[{name!r}])",
            "scenes = scenes.against(background.zoom(canvas=scenes.canvas).render(1.0))",
        ]

    def _fine(self, setting: Setting, canvas: int) -> int:
        """Return the canvas on which the object is placed."""
        return canvas * FINE if setting.protocol == "zoom" and len(self.protocols) > 1 else canvas


@cache
def backgrounds() -> dict[str, Callable[[int], Tensor]]:
    """Return by name what an object can be put on, each from the canvas to (1, 3, S, S)."""

    def photographed(picture: Tensor, canvas: int) -> Tensor:
        return photographs(picture).zoom(canvas=canvas).render(1.0)

    made: dict[str, Callable[[int], Tensor]] = {
        f"procedural {seed}": partial(procedural, [seed]) for seed in SEEDS
    }
    pictures = cutouts.real_backgrounds().items()
    return made | {name: partial(photographed, picture) for name, picture in pictures}


def items(source: cutouts.Objects | Scenes | Photographs) -> list[Item]:
    """List what there is to look at in what `skviz.explore` was given."""
    if isinstance(source, Photographs):
        return [photograph(one) for one in source]
    names = enumerate(unique(source.ids))
    if isinstance(source, cutouts.Objects):
        return [cut_out(source, index, name) for index, name in names]
    return [given(source, index, name) for index, name in names]


def cut_out(objects: cutouts.Objects, index: int, name: str) -> Item:
    """Make an item of one cut-out, on the background that `skviz.place` gives it among all."""
    family, category = objects.family[index], objects.category[index]

    def make(canvas: int) -> Scenes:
        pictures = procedural([index], canvas)
        return place(objects[index], canvas=canvas, backgrounds=pictures)

    def code(canvas: int) -> str:
        shown, shipped = f"objects[{index}]", cutouts.all_objects()
        if objects.ids[index] in shipped.ids:
            same = shipped.rgba[shipped.ids.index(objects.ids[index])]
            if torch.equal(same, objects.rgba[index]):
                shown = f"skviz.objects(category={category!r}, family={family!r})"
        pictures = f"procedural([{index}], {canvas})"
        return f"skviz.place({shown}, canvas={canvas}, backgrounds={pictures})"

    number = name.removeprefix(objects.ids[index])  # of several with the same name
    return Item(name, category + number, family, make, code)


def photograph(one: Photographs, family: str = "photographs") -> Item:
    """Make an item of one photograph and the mask of its object."""
    (name,), (category,) = one.ids, one.category
    shipped = one.made[0] == photographs().made[0]
    origin = f"{'skviz.photographs()' if shipped else 'explorer.photographs'}[{name!r}]"

    def make(canvas: int) -> Scenes:
        return one.cut_out(canvas=canvas)

    def code(canvas: int) -> str:
        return f"{origin}.cut_out(canvas={canvas})"

    full = f"{family}/{name}"
    return Item(full, category, family, make, code, picture=one, origin=origin)


def given(source: Scenes, index: int, name: str) -> Item:
    """Make an item of one of some scenes; it stays in the protocol that they were made for."""

    def code(_canvas: int) -> str:
        return f"scenes[{index}]  # of the scenes given to skviz.explore"

    def make(_canvas: int) -> Scenes:
        return source[index]

    return Item(name, source.category[index], "scenes", make, code, (source.protocol,))


def unique(names: tuple[str, ...]) -> list[str]:
    """Add a number to names that were there before."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return made
