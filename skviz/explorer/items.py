"""What the explorer can show, as scenes, and the Python that makes the same scenes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from skviz.errors import SceneError
from skviz.explorer.code import chain
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import real_backgrounds
from skviz.scenes.cutouts import place
from skviz.scenes.photographs import Photographs, photographs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from skviz.scenes.source import Scenes

__all__ = ["NATURAL", "OWN", "YOURS", "Item", "Setting", "backgrounds", "items", "photograph"]

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
    thing, origin
        It, and the Python expression that gives it.
    make
        From the canvas in pixels to one scene with the object in its own place.
    background
        The name of its own, if it does not bring one along.
    protocols
        Those in which it can be shown.
    """

    name: str
    category: str
    family: str
    thing: cutouts.Objects | Photographs | Scenes
    origin: str
    make: Callable[[int], Scenes]
    background: str = ""
    protocols: tuple[str, ...] = ("rescale", "zoom")

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
        zoomed = setting.protocol == "zoom" and len(self.protocols) > 1
        if zoomed and isinstance(self.thing, Photographs):
            return self.thing.zoom(canvas=canvas).loaded()
        scenes = self.make(canvas * FINE if zoomed else canvas).loaded()
        if any(setting.position):
            scenes = scenes.moved(*setting.position)
        background = self.background if setting.background == OWN else setting.background
        if background:
            scenes = scenes.against(background)
        return scenes.zoom(canvas=canvas) if zoomed else scenes

    def python(self, scenes: Scenes) -> str:
        """Return the line of Python that makes the same scenes, from how they were made."""
        line = f"scenes = {chain(self.origin, scenes.made[len(self.thing.made) :])}"
        root = self.origin.partition("[")[0]
        return line if "." in root else f"{line}  # {root}: those given to skviz.explore"


def backgrounds() -> list[str]:
    """Name what an object can be put on."""
    return [OWN, *(f"procedural {seed}" for seed in SEEDS), *real_backgrounds()]


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
    one, shipped = objects[index], cutouts.all_objects()
    (full,), (category,), (family,) = one.ids, one.category, one.family
    origin = f"objects[{index}]"
    if full in shipped.ids and torch.equal(shipped[full].rgba, one.rgba):
        origin = f"skviz.objects(category={category!r}, family={family!r})"
    number = name.removeprefix(full)  # of several with the same name

    def make(canvas: int) -> Scenes:
        return place(one, canvas=canvas)

    return Item(name, category + number, family, one, origin, make, f"procedural {index}")


def photograph(one: Photographs, family: str = "photographs") -> Item:
    """Make an item of one photograph and the mask of its object."""
    (name,), (category,) = one.ids, one.category
    shipped = one.made[0] == photographs().made[0]
    origin = f"{'skviz.photographs()' if shipped else 'explorer.photographs'}[{name!r}]"

    def make(canvas: int) -> Scenes:
        return one.cut_out(canvas=canvas)

    return Item(f"{family}/{name}", category, family, one, origin, make)


def given(source: Scenes, index: int, name: str) -> Item:
    """Make an item of one of some scenes; it stays in the protocol that they were made for."""
    one, category = source[index], source.category[index]

    def make(_canvas: int) -> Scenes:
        return one

    return Item(
        name, category, "scenes", one, f"scenes[{index}]", make, protocols=(source.protocol,)
    )


def unique(names: tuple[str, ...]) -> list[str]:
    """Add a number to names that were there before."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return made
