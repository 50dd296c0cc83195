"""What an explorer can look at, and what is measured of it; the widget shows this."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from skviz.attribution.methods import METHODS
from skviz.errors import SkvizError
from skviz.explorer.attributions import TARGETS, explained
from skviz.explorer.code import attributed, measured, picked
from skviz.explorer.grid import Subject, dataset, measure, renderable
from skviz.explorer.items import OWN, YOURS, Item, Setting, backgrounds, items, photograph
from skviz.scenes.photographs import photographs
from skviz.scenes.source import CANVAS
from skviz.studies.setting import canvas_of, increasing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import xarray as xr
    from torch import Tensor, nn

    from skviz.capture.interventions import Force
    from skviz.explorer.grid import Payload
    from skviz.scenes import cutouts
    from skviz.scenes.photographs import Photographs
    from skviz.scenes.source import Scenes

__all__ = ["Model", "View"]


@dataclass(frozen=True)
class View:
    """One setting, ready to be measured: a network, what it is shown, and what is done to it."""

    setting: Setting
    item: Item
    subject: Subject
    scenes: Scenes
    changes: dict[str, Force | str]

    def measure(self, scales: Sequence[float]) -> Iterator[float | Payload]:
        """Yield the share that is done, and at last what `grid.measure` found, with its code."""
        for found in measure(self.subject, self.scenes, scales, self.changes):
            yield found if isinstance(found, float) else self._of(found, self._code(scales))

    def explain(
        self, scales: Sequence[float], *, method: str, target: str, unit: str, fine: bool
    ) -> Iterator[float | Payload]:
        """Yield the share that is done and what `explained` found so far, with its code."""
        ask = {"method": method, "target": target, "unit": unit}
        code = attributed(self.changes, **ask)
        for found in explained(self.subject, self.scenes, scales, self.changes, **ask, fine=fine):
            yield found if isinstance(found, float) else self._of(found, code)

    def _of(self, found: Payload, code: list[str]) -> Payload:
        return found | {"setting": self.setting.named, "code": code}

    def _code(self, scales: Sequence[float]) -> list[str]:
        scenes = self.item.python(self.setting, self.subject.canvas)
        return measured(self.subject.model, scenes, scales, self.changes)


class Model:
    """Networks by name, things to show them, and the scales at which.

    Parameters
    ----------
    networks, source, scales, units, canvas
        See `skviz.explore`.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        source: cutouts.Objects | Scenes | Photographs,
        *,
        scales: Sequence[float],
        units: Sequence[str] | None,
        canvas: int | None,
    ) -> None:
        self.networks, self.scales = dict(networks), increasing(scales)
        self.items = {item.name: item for item in items(source)}
        self._units, self._canvas = units, canvas
        self._subjects: dict[str, Subject] = {}
        if not self.networks or not self.items:
            raise SkvizError("there is nothing to explore: give at least one model and one object")

    @cached_property
    def first(self) -> Setting:
        """Where to begin."""
        item = next(iter(self.items.values()))
        return Setting(item.protocols[0], network=next(iter(self.networks)), item=item.name)

    def choices(self) -> dict[str, Any]:
        """Return what can be chosen."""
        shown = ("name", "category", "family", "protocols")
        return {
            "items": [{key: getattr(i, key) for key in shown} for i in self.items.values()],
            "backgrounds": [OWN, *backgrounds()],
            "networks": list(self.networks),
            "methods": list(METHODS),
            "targets": list(TARGETS),
            "scales": self.scales,
        }

    def check(self, name: str, value: str) -> str:
        """Refuse what cannot be chosen."""
        known: Collection[str] = {
            "network": list(self.networks),
            "item": list(self.items),
            "background": [OWN, *backgrounds()],
            "method": ["", *METHODS],
            "target": list(TARGETS),
        }[name]
        if value not in known:
            raise SkvizError(f"there is no {name} {value!r}; there are {list(known)}")
        return value

    def check_measured(self, grid: Payload, setting: Setting, problem: str) -> None:
        """Refuse a grid of another setting than is asked for."""
        if not grid:
            raise SkvizError(f"nothing is measured yet; call wait() first. {problem}".strip())
        asked, old = setting.named, grid["setting"]
        if old != asked:
            differ = ", ".join(f"{key} {old[key]!r}" for key in asked if old[key] != asked[key])
            raise SkvizError(
                f"what is measured is of {differ}, which is not what is asked for; "
                f"call wait() first. {problem}".strip()
            )

    def add(self, name: str, picture: Tensor, mask: Tensor) -> tuple[Item, Photographs]:
        """Add a photograph to what can be chosen, see `skviz.explorer.widget.Explorer`."""
        one = photographs({name: (picture, mask)})
        item = photograph(one, family=YOURS)
        item.make(CANVAS).ready()  # complain now
        self.items[item.name] = item
        return item, one

    def view(self, setting: Setting) -> View:
        """Prepare a setting.

        Raises
        ------
        SkvizError
            If it cannot be shown, or the network has no unit.
        """
        model, item = self.networks[setting.network], self.items[setting.item]
        canvas = self._canvas or canvas_of(model)
        scenes = item.scenes(setting, canvas)
        subject = self._subjects.get(setting.network)
        if subject is None:
            shown = renderable(scenes, self.scales)
            few = [shown[0], shown[len(shown) // 2], shown[-1]]
            images = torch.cat([scenes.render(scale) for scale in few])
            subject = self._subjects[setting.network] = Subject.of(model, images, self._units)
        changes = subject.changes(setting.intervention, setting.only)
        return View(setting, item, subject, scenes, changes)

    def measure(self, setting: Setting, scales: Sequence[float] = ()) -> Iterator[float | Payload]:
        """Measure a setting at some scales, by default at all at which it can be shown."""
        view = self.view(setting)
        yield from view.measure(scales or renderable(view.scenes, self.scales))

    def explain(self, setting: Setting, near: float, **ask: Any) -> Iterator[float | Payload]:
        """Attribute a setting at all scales at which it can be shown, the nearest first."""
        view = self.view(setting)
        scales = renderable(view.scenes, self.scales)
        yield from view.explain(sorted(scales, key=lambda scale: abs(scale - near)), **ask)

    def dataset(self, grid: Payload) -> xr.Dataset:
        """Return a grid as `skviz.sweep` gives it."""
        view = self.view(Setting.of(grid["setting"]))
        return dataset(view.subject, view.scenes, grid)

    def program(self, grid: Payload, maps: Payload, *, scale: float, unit: str) -> str:
        """Return the Python that measures a grid and its maps, and picks what is looked at."""
        return "\n".join([*grid["code"], *maps.get("code", []), picked(scale, unit)])
