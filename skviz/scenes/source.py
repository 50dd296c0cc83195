"""What a model is shown: any number of images, read when they are needed, at any scale."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
import torch

from skviz.errors import DataError, SceneError
from skviz.scenes.backgrounds import named as named_background
from skviz.scenes.made import Made, step
from skviz.scenes.ready import Enlarged, Ready, Rendered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from skviz.scenes.layers import Layers

__all__ = ["CANVAS", "Chosen", "Scenes", "Source", "named"]

CANVAS = 96  # pixels, of scenes for a network that does not say what it wants
T = TypeVar("T")
Shown = tuple[dict[float, Any], dict[float, Any], Any, np.ndarray]  # images, masks, area, content


class Source(Protocol):
    """Where scenes come from."""

    @property
    def threads(self) -> int:
        """How many threads may read at once; 0 where all is in memory."""

    def ready(self, places: Sequence[int]) -> Ready:
        """Read the scenes at these places."""

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of what makes each of these what it is, (place,)."""


class UnusableError(DataError):
    """An image that cannot be read or shown; says which."""


def named(name: str, action: Callable[[int], T]) -> Callable[[int], T]:
    """Have whatever an action on one image raises say which image it was."""

    def act(place: int) -> T:
        try:
            return action(place)
        except UnusableError:
            raise
        except Exception as error:  # whatever a decoder or a dataset may raise
            said = str(error) if isinstance(error, DataError | SceneError) else (
                f"{type(error).__name__}: {error}"
            )  # fmt: skip
            raise UnusableError(
                f"image {name!r} cannot be used ({said}); mend it, or give on_error='skip'"
            ) from error

    return act


class Chosen:
    """Several things with names, of which some can be chosen."""

    if TYPE_CHECKING:
        category: tuple[str, ...]
        family: tuple[str, ...]
        made: Made

        @property
        def ids(self) -> tuple[str, ...]:
            """A name for each."""

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Self]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, part: int | str | slice | Iterable[int], /) -> Self:
        """Choose one by its place or name, or several by a slice or their places."""
        every = range(len(self))
        if isinstance(part, str):
            if part not in self.ids:
                raise DataError(f"there is none called {part!r}; there are {list(self.ids)}")
            part = self.ids.index(part)
        if isinstance(part, slice):
            call = step("[]", slice=list(part.indices(len(self))))
            return self._chosen(every[part], call)
        places = (
            [int(part)] if isinstance(part, int | np.integer) else [int(place) for place in part]
        )
        try:
            there = [every[place] for place in places]
        except IndexError as error:
            raise DataError(f"there are {len(self)}, 0 to {len(self) - 1}; got {part}") from error
        return self._chosen(there, step("[]", places=there))

    def _chosen(self, places: Sequence[int], call: dict[str, Any]) -> Self:
        """Return those at these places, in this order."""
        there = {
            name: tuple(getattr(self, name)[place] for place in places)
            for name in ("ids", "category", "family")
        }
        return self._replaced(places, made=(*self.made, call), **there)

    def _replaced(self, places: Sequence[int], **names: Any) -> Self:
        raise NotImplementedError

    def where(
        self,
        *,
        category: str | Iterable[str] | None = None,
        family: str | Iterable[str] | None = None,
    ) -> Self:
        """Return those of these categories and families.

        Raises
        ------
        DataError
            If a name does not exist, with those that do, or if nothing is left.
        """
        asked = [
            each if each is None or isinstance(each, str) else list(each)
            for each in (category, family)
        ]
        categories = known(asked[0], self.category, "category")
        families = known(asked[1], self.family, "family")
        kept = [
            place
            for place, pair in enumerate(zip(self.category, self.family, strict=True))
            if pair[0] in categories and pair[1] in families
        ]
        if not kept:
            raise DataError(
                f"no image is of category {sorted(categories)} and family {sorted(families)}"
            )
        return self._chosen(kept, step("where", category=asked[0], family=asked[1]))

    def __repr__(self) -> str:
        first = ", ".join(self.ids[:3])
        more = ", …" if len(self) > 3 else ""
        return f"<{type(self).__name__}: {len(self)}, {first}{more}>"


def known(asked: str | list[str] | None, existing: Iterable[str], what: str) -> set[str]:
    """Return the names asked for, by default all that exist; refuse one that does not."""
    names = set(existing)
    if asked is None:
        return names
    chosen = {asked} if isinstance(asked, str) else set(asked)
    if not chosen or chosen - names:
        wrong = sorted(chosen - names) or "none"
        raise DataError(f"no image has {what} {wrong}; there are {sorted(names)}")
    return chosen


@dataclass(frozen=True, eq=False, repr=False)
class Scenes(Chosen):
    """Images that a model is shown; made by `skviz.place` or of `skviz.photographs`.

    Attributes
    ----------
    source
        Where they come from.
    ids, category, family
        N names each.
    protocol, canvas
        What changes with the scale (``"rescale"``, ``"zoom"``), and the side in pixels.
    made
        How they were made.
    places
        Which of the source's they are.
    """

    source: Source
    ids: tuple[str, ...]
    category: tuple[str, ...]
    family: tuple[str, ...]
    protocol: str
    canvas: int
    made: Made
    places: tuple[int, ...]

    __repr__ = Chosen.__repr__

    def _replaced(self, places: Sequence[int], **names: Any) -> Self:
        return replace(self, places=tuple(self.places[place] for place in places), **names)

    @property
    def attrs(self) -> dict[str, Any]:
        """How the scenes were made, for the attributes of a result."""
        return {"protocol": self.protocol, "canvas": self.canvas, "made": list(self.made)}

    @property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of what makes each scene what it is."""
        return self.source.contents(self.places)

    def ready(
        self,
        device: torch.device | str = "cpu",
        scales: Sequence[float] | None = None,
        *,
        skip: bool = False,
    ) -> Ready:
        """Read all of them, onto a device.

        Parameters
        ----------
        device
            Where.
        scales
            At which each is rendered at once, so that no more are held than are read at once;
            without, they can be rendered at any.
        skip
            With scales: go on without those that cannot be read or rendered.

        Raises
        ------
        DataError
            At the first image that cannot be used, with its name.
        """
        if scales is None or not self.source.threads:
            return self.source.ready(self.places).to(device)
        return self._rendered(torch.device(device), scales, skip=skip)

    def _rendered(self, device: torch.device, scales: Sequence[float], *, skip: bool) -> Rendered:
        def show(place: int) -> Shown:
            one = self.source.ready([place]).to(device)
            content = self.source.contents([place])
            images = {scale: one.render(scale) for scale in scales}
            return images, {scale: one.mask(scale) for scale in scales}, one.areas, content

        problems: dict[int, str] = {}
        shown = []
        with ThreadPoolExecutor(self.source.threads) as pool:  # decoders let go of Python's lock
            jobs = [
                pool.submit(named(name, show), place)
                for name, place in zip(self.ids, self.places, strict=True)
            ]
            for index, job in enumerate(jobs):
                try:
                    shown.append(job.result())
                except DataError as error:
                    why = error.__cause__
                    problems[index] = f"{type(why).__name__}: {why}"
                    if not skip:
                        pool.shutdown(cancel_futures=True)
                        raise
        images, masks, areas, content = zip(*shown, strict=True) if shown else ((), (), (), ())
        known = bool(masks) and None not in masks[0].values()
        return Rendered(
            {s: torch.cat([each[s] for each in images]) for s in scales if images},
            {s: torch.cat([each[s] for each in masks]) if known else None for s in scales},
            torch.cat([torch.empty(0), *(area.cpu() for area in areas)]),
            np.concatenate([np.empty(0, np.uint64), *content]),
            problems,
        )

    def render(self, scale: float) -> Tensor:
        """Render every scene at `scale`: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If that cannot be.
        DataError
            At the first image that cannot be used, with its name.
        """
        return self.ready().render(scale)

    def mask(self, scale: float) -> Tensor | None:
        """How much of each pixel is object at `scale`: (N, S, S) in 0…1; None if not known."""
        return self.ready().mask(scale)

    @cached_property
    def layers(self) -> Layers:
        """Their objects and backgrounds.

        Raises
        ------
        SceneError
            If these are not known apart.
        """
        found = self.ready().layers
        if found is None:
            raise SceneError(
                "where the object is in these scenes is not known; use skviz.place, or "
                "skviz.photographs(…, masks=…).cut_out()"
            )
        return found

    def moved(self, y: float, x: float) -> Self:
        """Move every object by fractions of the canvas.

        Raises
        ------
        SceneError
            If an object's middle would be off the canvas, or is not known.
        """
        centre = self.layers.centre + self.canvas * torch.tensor([[y, x]])
        if not bool(((centre > 0) & (centre < self.canvas)).all()):
            raise SceneError(f"moved by {(y, x)}, the object is off the canvas")
        return self._in_memory(replace(self.layers, centre=centre), step("moved", y=y, x=x))

    def against(self, backgrounds: Tensor | str) -> Self:
        """Put every object on another background.

        Parameters
        ----------
        backgrounds
            (N, 3, S, S) or (1, 3, S, S) in 0…1, or the name of one (`skviz.scenes.backgrounds`).
        """
        call, made = step("against", backgrounds=backgrounds), self.layers.backgrounds
        if isinstance(backgrounds, str):
            backgrounds = named_background(backgrounds, self.canvas)
        if backgrounds.shape[1:] != made.shape[1:] or len(backgrounds) not in (1, len(self)):
            raise SceneError(f"backgrounds must be {tuple(made.shape)}, got {backgrounds.shape}")
        return self._in_memory(replace(self.layers, backgrounds=backgrounds.expand_as(made)), call)

    def zoom(self, *, canvas: int = CANVAS) -> Self:
        """Enlarge the centre of each scene as it is at scale 1, as if it were a photograph."""
        pictures = tuple(self.render(1.0).split(1))
        made = self._in_memory(Enlarged(pictures, canvas), step("zoom", canvas=canvas))
        return replace(made, protocol="zoom", canvas=canvas)

    def _in_memory(self, source: Source, call: dict[str, Any]) -> Self:
        everything = tuple(range(len(self)))
        return replace(self, source=source, places=everything, made=(*self.made, call))

    def on(self, source: Source, call: dict[str, Any]) -> Self:
        """Return scenes of the same names, categories and places from another source."""
        return replace(self, source=source, made=(*self.made, call))

    def loaded(self) -> Self:
        """Return the same scenes in memory."""
        here: Any = self.ready()
        return replace(self, source=here, places=tuple(range(len(self))))
