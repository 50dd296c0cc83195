"""What a model is shown: any number of images, read when they are needed, at any scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from skviz.errors import SceneError, Side, entrance
from skviz.scenes import changes
from skviz.scenes.backgrounds import fitted, named
from skviz.scenes.chosen import Listed
from skviz.scenes.layers import Layers
from skviz.scenes.made import step
from skviz.scenes.reading import UnusableError, each, usable
from skviz.scenes.ready import Enlarged, Ready, Rendered, Shown

CANVAS = 96  # pixels, of scenes for a network that does not say what it wants


class Source(Protocol):
    """Where scenes come from."""

    @property
    def threads(self) -> int:
        """How many threads may read at once; 0 where all is in memory."""

    def ready(self, places: Sequence[int]) -> Ready:
        """Read the scenes at these places."""

    def contents(self, places: Sequence[int]) -> np.ndarray:
        """Return 64 bits of the sha256 of what makes each of these what it is, (place,)."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Scenes(Listed):
    """Images that a model is shown; made by `skviz.place` or of `skviz.photographs`.

    Attributes
    ----------
    source
        Where they come from.
    protocol, canvas
        What changes with the scale (``"rescale"``, ``"zoom"``), and the side in pixels.
    ids, category, family, made, places
        See `Listed`.
    """

    source: Source
    protocol: str
    canvas: int

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
            images = {scale: one.render(scale) for scale in scales}
            masks = {scale: one.mask(scale) for scale in scales}
            return Shown(images, masks, one.behind, one.areas, self.source.contents([place]))

        found = each(show, self.places, self.ids, self.source.threads)
        problems = {n: one.why for n, one in enumerate(found) if isinstance(one, UnusableError)}
        shown = [one for n, one in enumerate(found) if n not in problems] if skip else found
        return Rendered(tuple(usable(shown)), problems)

    @entrance
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

    @entrance
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
        return changes.layers_of(self.source, self.places)

    @entrance
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

    @entrance
    def against(self, backgrounds: Tensor | str) -> Self:
        """Put every object on another background.

        Parameters
        ----------
        backgrounds
            (N, 3, S, S) or (1, 3, S, S) in 0…1, or the name of one (`skviz.scenes.backgrounds`).
        """
        call, made = step("against", backgrounds=backgrounds), self.layers.backgrounds
        if isinstance(backgrounds, str):
            backgrounds = named(backgrounds, self.canvas)
        behind = fitted(backgrounds, len(self), self.canvas).to(made)
        return self._in_memory(replace(self.layers, backgrounds=behind), call)

    @entrance
    def changed(self, control: str, scales: Sequence[float]) -> Scenes:
        """Return the scenes of a control, for the same sweep.

        Parameters
        ----------
        control
            Of `skviz.scenes.changes`; `skviz.controls` says what each is.
        scales
            Of the sweep. What something else does in the place of growth depends on its ends.

        Raises
        ------
        SceneError
            If there is no such control, or these scenes have no object that could be changed.
        """
        return changes.changed(self, control, scales)

    @entrance
    def zoom(self, *, canvas: Side = CANVAS) -> Self:
        """Enlarge the centre of each scene as it is at scale 1, as if it were a photograph."""
        pictures = tuple(self.render(1.0).split(1))
        made = self._in_memory(Enlarged(pictures, canvas), step("zoom", canvas=canvas))
        return replace(made, protocol="zoom", canvas=canvas)

    def _in_memory(self, source: Source, *calls: dict[str, Any]) -> Self:
        everything = tuple(range(len(self)))
        return replace(self, source=source, places=everything, made=(*self.made, *calls))

    def on(self, source: Source, call: dict[str, Any]) -> Self:
        """Return scenes of the same names, categories and places from another source."""
        return replace(self, source=source, made=(*self.made, call))

    def loaded(self) -> Self:
        """Return the same scenes in memory."""
        return self._in_memory(self.ready())
