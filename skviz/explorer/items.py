"""What the explorer can show, as scenes, and the Python that makes the same scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch

from skviz.errors import SceneError
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import procedural
from skviz.scenes.photographs import from_photographs, zoom
from skviz.scenes.source import Scenes, Source, place

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "NATURAL",
    "OWN",
    "YOURS",
    "Item",
    "Photographs",
    "Setting",
    "backgrounds",
    "items",
    "photograph",
]

Photographs = Mapping[str, tuple["Tensor", "Tensor"]]

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
    picture, picture_code
        The photograph that the zoom protocol enlarges, uint8 (3, H, W), and its expression; without
        one, the scene itself is enlarged.
    """

    name: str
    category: str
    family: str
    make: Callable[[int], Source]
    code: Callable[[int], str]
    protocols: tuple[str, ...] = ("rescale", "zoom")
    picture: Tensor | None = None
    picture_code: str = "(scenes.render(1.0)[0] * 255).round().byte()"

    def scenes(self, setting: Setting, canvas: int) -> Source:
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
            return self._zoom(self.picture, canvas)
        fine = self._fine(setting, canvas)
        scenes = self.make(fine)
        if not isinstance(scenes, Scenes):
            return scenes
        centre = scenes.centre + fine * torch.tensor([setting.position])
        if not bool(((centre > 0) & (centre < fine)).all()):
            raise SceneError(f"moved by {setting.position}, the object is off the canvas")
        scenes = replace(scenes, centre=centre)
        if setting.background != OWN:
            scenes = replace(scenes, backgrounds=backgrounds()[setting.background](fine))
        if setting.protocol == "zoom":
            return self._zoom((scenes.render(1.0)[0] * 255).round().byte(), canvas)
        return scenes

    def python(self, setting: Setting, canvas: int) -> list[str]:
        """Return the lines of Python that make the same ``scenes``."""
        fine = self._fine(setting, canvas)
        lines, changes = [], []
        if any(setting.position):
            changes.append(f"centre=scenes.centre + {fine} * torch.tensor({[setting.position]})")
        kind, _, which = setting.background.partition(" ")
        if kind == "procedural":
            changes.append(f"backgrounds=procedural([{which}], {fine})")
        elif setting.background != OWN:
            picture = f"cutouts.real_backgrounds()[{setting.background!r}]"
            changes.append(f'backgrounds=skviz.zoom({{"": {picture}}}, canvas={fine}).render(1.0)')
        if setting.protocol == "rescale" or self.picture is None:
            lines.append(f"scenes = {self.code(fine)}")
            if changes:
                lines.append(f"scenes = replace(scenes, {', '.join(changes)})")
        if setting.protocol == "zoom" and len(self.protocols) > 1:
            picture = f"{{{self.name!r}: {self.picture_code}}}"
            category = f"category=[{self.category!r}]"
            lines.append(f"scenes = skviz.zoom({picture}, {category}, canvas={canvas})")
        return lines

    def _zoom(self, picture: Tensor, canvas: int) -> Source:
        return zoom({self.name: picture}, category=[self.category], canvas=canvas)

    def _fine(self, setting: Setting, canvas: int) -> int:
        """Return the canvas on which the object is placed."""
        return canvas * FINE if setting.protocol == "zoom" and len(self.protocols) > 1 else canvas


@cache
def backgrounds() -> dict[str, Callable[[int], Tensor]]:
    """Return by name what an object can be put on, each from the canvas to (1, 3, S, S)."""

    def photographed(picture: Tensor, canvas: int) -> Tensor:
        return zoom({"": picture}, canvas=canvas).render(1.0)

    made: dict[str, Callable[[int], Tensor]] = {
        f"procedural {seed}": partial(procedural, [seed]) for seed in SEEDS
    }
    pictures = cutouts.real_backgrounds().items()
    return made | {name: partial(photographed, picture) for name, picture in pictures}


def items(source: cutouts.Objects | Source | Photographs) -> list[Item]:
    """List what there is to look at in what `skviz.explore` was given."""
    if isinstance(source, Mapping):
        return [photograph(name, *pair) for name, pair in source.items()]
    names = enumerate(unique(source.ids))
    if isinstance(source, cutouts.Objects):
        return [cut_out(source, index, name) for index, name in names]
    return [given(source, index, name) for index, name in names]


def cut_out(objects: cutouts.Objects, index: int, name: str) -> Item:
    """Make an item of one cut-out, on the background that `skviz.place` gives it among all."""
    family, category = objects.family[index], objects.category[index]

    def make(canvas: int) -> Source:
        pictures = procedural([index], canvas)
        return place(objects.take([index]), canvas=canvas, backgrounds=pictures)

    def code(canvas: int) -> str:
        shown, shipped = f"objects.take([{index}])", cutouts.all_objects()
        if objects.ids[index] in shipped.ids:
            same = shipped.rgba[shipped.ids.index(objects.ids[index])]
            if torch.equal(same, objects.rgba[index]):
                shown = f"skviz.objects(category={category!r}, family={family!r})"
        pictures = f"procedural([{index}], {canvas})"
        return f"skviz.place({shown}, canvas={canvas}, backgrounds={pictures})"

    number = name.removeprefix(objects.ids[index])  # of several with the same name
    return Item(name, category + number, family, make, code)


def photograph(name: str, picture: Tensor, mask: Tensor, family: str = "photographs") -> Item:
    """Make an item of a photograph and the mask of its object, uint8 (3, H, W) and (1, H, W)."""

    def make(canvas: int) -> Source:
        return from_photographs({name: (picture, mask)}, canvas=canvas)

    def code(canvas: int) -> str:
        return f"skviz.from_photographs({{{name!r}: {origin}}}, canvas={canvas})"

    shipped = cutouts.photographs().get(name)
    origin = f"explorer.photographs[{name!r}]"
    if shipped and all(map(torch.equal, shipped, (picture, mask))):
        origin = f"skviz.photographs()[{name!r}]"
    full = f"{family}/{name}"
    return Item(full, name, family, make, code, picture=picture, picture_code=f"{origin}[0]")


def given(source: Source, index: int, name: str) -> Item:
    """Make an item of one of some scenes; it stays in the protocol that they were made for."""
    protocol = "rescale" if isinstance(source, Scenes) else "zoom"

    def code(_canvas: int) -> str:
        return f"scenes[{index} : {index + 1}]  # of the scenes given to skviz.explore"

    def make(_canvas: int) -> Source:
        return source[index : index + 1]

    return Item(name, source.category[index], "scenes", make, code, (protocol,))


def unique(names: tuple[str, ...]) -> list[str]:
    """Add a number to names that were there before."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return made
