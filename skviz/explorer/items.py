"""What the explorer can show, as scenes, and the Python that makes the same scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch

from skviz.errors import SceneError
from skviz.explorer.code import chain
from skviz.scenes.backgrounds import real_backgrounds
from skviz.scenes.changes import CONTROL_SCENES
from skviz.scenes.cutouts import Objects, objects, place
from skviz.scenes.photographs import Photographs, photographs
from skviz.scenes.source import Scenes

OWN = "its own"
NATURAL = "natural"
SEEDS = range(1, 5)  # of the procedural backgrounds on offer
FINE = 4  # a scene to be zoomed is composed at this many times the canvas
YOURS = "your pictures"
MANY = 64  # photographs of a folder are taken to have masks, or none, as the first


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


SETTING = tuple(field.name for field in fields(Setting))


@dataclass(frozen=True)
class Item:
    """One thing to look at.

    Attributes
    ----------
    name, category, family
        Its unique name; what it is; whose design.
    source, index
        Where it is, and which one it is there.
    protocols
        Those in which it can be shown.
    """

    name: str
    category: str
    family: str
    source: Objects | Photographs | Scenes
    index: int
    protocols: tuple[str, ...] = ("rescale", "zoom", *CONTROL_SCENES)

    @cached_property
    def thing(self) -> Objects | Photographs | Scenes:
        """It alone."""
        return self.source[self.index]

    @property
    def named(self) -> dict[str, Any]:
        """What travels to the browser."""
        shown = ("name", "category", "family", "protocols")
        return {name: getattr(self, name) for name in shown}

    @property
    def origin(self) -> str:
        """The Python expression that gives it."""
        (name,), (category,), (family,) = self.thing.ids, self.thing.category, self.thing.family
        if isinstance(self.thing, Photographs):
            shipped = self.thing.made[0] == photographs().made[0]
            return f"{'skviz.photographs()' if shipped else 'explorer.photographs'}[{name!r}]"
        if not isinstance(self.thing, Objects):
            return f"scenes[{self.index}]"
        if name in objects().ids and torch.equal(objects()[name].rgba, self.thing.rgba):
            return f"skviz.objects(category={category!r}, family={family!r})"
        return f"objects[{self.index}]"

    def placed(self, canvas: int) -> Scenes:
        """Return one scene with the object in its own place, on the background it brings along."""
        if isinstance(self.thing, Objects):
            return place(self.thing, canvas=canvas)
        if isinstance(self.thing, Photographs):
            return self.thing.cut_out(canvas=canvas)
        return self.thing

    @property
    def background(self) -> str:
        """The name of the background that `skviz.place` gives a cut-out among all."""
        return f"procedural {self.index}" if isinstance(self.source, Objects) else ""

    def scenes(self, setting: Setting, canvas: int) -> Scenes:
        """Return the one scene of a setting; of a control, what is to be changed.

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
        if setting.protocol == "zoom" and isinstance(self.thing, Photographs):
            return self.thing.zoom(canvas=canvas).loaded()
        scenes = self.placed(canvas * FINE if zoomed else canvas).loaded()
        if any(setting.position):
            scenes = scenes.moved(*setting.position)
        background = self.background if setting.background == OWN else setting.background
        if background:
            scenes = scenes.against(background)
        return scenes.zoom(canvas=canvas) if zoomed else scenes

    def expression(self, scenes: Scenes) -> str:
        """Return the Python expression that makes the same scenes, from how they were made."""
        return chain(self.origin, scenes.made[len(self.thing.made) :])

    def python(self, scenes: Scenes) -> str:
        """Return the line of Python that makes the same scenes, and says whose they are."""
        line = f"scenes = {self.expression(scenes)}"
        root = self.origin.partition("[")[0]
        return line if "." in root else f"{line}  # {root}: those given to skviz.explore"


def backgrounds() -> list[str]:
    """Name what an object can be put on."""
    return [OWN, *(f"procedural {seed}" for seed in SEEDS), *real_backgrounds()]


def items(source: Objects | Scenes | Photographs) -> list[Item]:
    """List what there is to look at in what `skviz.explore` was given."""
    if isinstance(source, Photographs):
        first = source[0] if len(source) > MANY else None  # to read each would take long
        return [photograph(one, like=first) for one in source]
    made = []
    for index, name in enumerate(unique(source.ids)):
        category, family = source.category[index], source.family[index]
        if isinstance(source, Objects):
            number = name.removeprefix(source.ids[index])  # of several with the same name
            made.append(Item(name, category + number, family, source, index))
        else:  # in the protocol that they were made for
            more = tuple(CONTROL_SCENES) if source.protocol == "rescale" else ()
            made.append(Item(name, category, "scenes", source, index, (source.protocol, *more)))
    return made


def photograph(
    one: Photographs, family: str = "photographs", like: Photographs | None = None
) -> Item:
    """Make an item of one photograph, and the mask of its object if there is one, or of another."""
    read = like or one
    known = read.reader.read(read.places[0])[1] is not None
    made = Item(f"{family}/{one.ids[0]}", one.category[0], family, one, 0)
    return made if known else replace(made, protocols=("zoom",))


def unique(names: tuple[str, ...]) -> list[str]:
    """Add a number to names that were there before."""
    seen: Counter[str] = Counter()
    made = []
    for name in names:
        seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return made
