"""What an explorer can look at, and what is measured of it; the widget shows this."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.nn.functional import interpolate

from skviz.attribution.methods import METHODS
from skviz.capture import Unit
from skviz.capture.interventions import Force
from skviz.errors import SkvizError
from skviz.explorer.attributions import TARGETS, explained
from skviz.explorer.code import attributed, measured
from skviz.explorer.grid import CLASSES, OUTPUT, Looked, Payload, Subject, frame, renderable
from skviz.explorer.items import YOURS, Item, Setting, backgrounds, items, photograph
from skviz.explorer.verdicts import verdicts
from skviz.scenes import cutouts
from skviz.scenes.changes import CONTROL_SCENES
from skviz.scenes.photographs import Photographs, photographs
from skviz.scenes.source import CANVAS, Scenes
from skviz.studies.keeping import Memory
from skviz.studies.options import Options
from skviz.studies.setting import canvas_of, increasing
from skviz.studies.study import Batch, Study

SMALL = 40  # pixels, of a thing among all others
AT_ONCE = 8  # scales that are shown to a network together


@dataclass(eq=False)
class View:
    """One setting at some scales: a network, what it is shown, and what is done to it.

    Attributes
    ----------
    setting, item, subject
        What is asked for.
    scenes
        One scene.
    scales
        At which it can be rendered.
    found
        What was measured: arrays by name, whose first dimension is the scene.
    """

    setting: Setting
    item: Item
    subject: Subject
    scenes: Scenes
    scales: list[float]
    found: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def changes(self) -> dict[str, Force | str]:
        """What is done to the network."""
        return self.subject.changes(self.setting.intervention, self.setting.only)

    @cached_property
    def study(self) -> Study:
        """What is measured."""
        looked = Looked(output=self.subject.shown)
        options = Options(list(self.subject.units), AT_ONCE, str(self.subject.device))
        return Study(self.subject.model, self.scenes, self.scales, looked, options)

    def nearest(self, scale: float) -> float:
        """Return the scale of these that is nearest to one."""
        return min(self.scales, key=lambda each: abs(each - scale))

    def measure(self) -> Iterator[float]:
        """Measure; yield the share that is done: after the first scale, and after some more each.

        As `Study.compute` does it, but several scales at once: here is one scene, not many. Between
        them the model is left alone, so that it can be asked for something else.
        """
        study, changes, count = self.study, self.changes, len(self.scales)
        here = study.ready(self.scenes)
        found = {name: variable.blank(count, 1) for name, variable in study.variables.items()}
        found |= {"area": here.areas.float().cpu().numpy(), "content": here.content}
        for start in (0, *range(1, count, AT_ONCE)):
            some = slice(start, start + (AT_ONCE if start else 1))
            images = torch.cat([here.render(scale) for scale in self.scales[some]])
            batch = Batch(images, self.scales[start], here, [0] * len(images), study)
            with self.subject.changed(changes):
                for name, values in study.measure(study.model, batch).items():
                    found[name][0, some] = values
            yield (start + len(images)) / count
        self.found = found

    @cached_property
    def payload(self) -> Payload:
        """What was measured, as the browser draws it.

        ``images`` are the bytes of uint8 (scale, y, x, rgb) and ``weights`` of float32
        (scale, branch, channel), the channels of all units one after the other; ``outputs`` are
        what a network makes that makes pictures, as ``images``, and else empty.
        """
        found = {name: values[0] for name, values in self.found.items()}
        best, chances = ([few[few == few].tolist() for few in found[name]] for name in CLASSES)
        classes = [[int(each) for each in few] for few in best]
        card, truth = getattr(self.subject.model, "card", None), self.study.truth
        known = card.categories if card else ()
        seen = {each for few in classes for each in few}
        return {
            "scales": self.scales,
            "canvas": self.subject.canvas,
            "images": found["thumbnail"].tobytes(),
            "weights": found["channel_weight"].astype("<f4").tobytes(),
            "outputs": found["output"].tobytes() if "output" in found else b"",
            "clipped": found["clipped"].tolist() if "clipped" in found else [],
            "output": self.subject.output,
            "units": self.subject.described(),
            "classes": classes,
            "probabilities": chances,
            "names": {str(i): known[i] if known else f"class {i}" for i in seen},
            "truth": None if truth is None else int(truth[0]),
            "frame": frame(self.scenes),
            "setting": self.setting.named,
            "code": self.code,
        }

    @cached_property
    def code(self) -> list[str]:
        """The lines of Python that measure it."""
        line = self.item.python(self.scenes)
        return measured(self.subject.model, line, self.scales, self.changes)

    @cached_property
    def ds(self) -> xr.Dataset:
        """What was measured, as `skviz.sweep` gives it."""
        kept = Memory()
        kept.prepare(self.study)
        kept.write(0, dict(self.found))
        return kept.finish().drop_vars([*CLASSES, *OUTPUT], errors="ignore")

    def explain(self, near: float, **ask: Any) -> Iterator[tuple[float, Payload]]:
        """Attribute at all scales, the nearest first; yield shares, and what is found so far."""
        scales = sorted(self.scales, key=lambda scale: abs(scale - near))
        code = attributed(self.changes, **{key: ask[key] for key in ("method", "target", "unit")})
        for share, maps in explained(self.subject, self.scenes, scales, self.changes, **ask):
            yield share, maps and maps | {"setting": self.setting.named, "code": code}


class Model:
    """Networks by name, things to show them, and the scales at which.

    Parameters
    ----------
    networks, source, scales, units, canvas, controls
        See `skviz.explore`.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        source: cutouts.Objects | Scenes | Photographs,
        *,
        scales: Sequence[float],
        units: str | Unit | Iterable[str | Unit] | None,
        canvas: int | None,
        controls: xr.Dataset | None = None,
    ) -> None:
        self.networks, self.scales = dict(networks), increasing(scales)
        self.items = {item.name: item for item in items(source)}
        self._units, self._canvas = units, canvas
        self._subjects: dict[str, Subject] = {}
        if not self.networks or not self.items:
            raise SkvizError("there is nothing to explore: give at least one model and one object")
        self.controls = {} if controls is None else verdicts(controls, self.networks)

    @cached_property
    def first(self) -> Setting:
        """Where to begin."""
        item = next(iter(self.items.values()))
        return Setting(item.protocols[0], network=next(iter(self.networks)), item=item.name)

    def choices(self) -> dict[str, Any]:
        """Return what can be chosen."""
        return {
            "items": [item.named for item in self.items.values()],
            "backgrounds": backgrounds(),
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
            "background": backgrounds(),
            "method": ["", *METHODS],
            "target": list(TARGETS),
        }[name]
        if value not in known:
            raise SkvizError(f"there is no {name} {value!r}; there are {list(known)}")
        return value

    def add(self, name: str, picture: Tensor, mask: Tensor) -> tuple[Item, Photographs]:
        """Add a photograph to what can be chosen, see `skviz.explorer.widget.Explorer`."""
        one = photographs({name: (picture, mask)})
        item = photograph(one, family=YOURS)
        item.placed(CANVAS).ready()  # complain now
        self.items[item.name] = item
        return item, one

    def thumbnail(self, name: str) -> bytes:
        """Return a small picture of a thing: uint8 (y, x, rgb), of side `SMALL`."""
        scenes = self.items[name].placed(CANVAS)
        low, high = scenes.ready().bounds
        picture = interpolate(scenes.render(min(max(1.0, low), high)), (SMALL, SMALL), mode="area")
        return (picture[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy().tobytes()

    def view(self, setting: Setting, scales: Sequence[float] = ()) -> View:
        """Prepare a setting at some scales, by default at all at which it can be shown.

        Raises
        ------
        SkvizError
            If it cannot be shown, or the network has no unit.
        """
        model, item = self.networks[setting.network], self.items[setting.item]
        canvas = self._canvas or canvas_of(model)
        scenes = item.scenes(setting, canvas)
        if setting.protocol in CONTROL_SCENES:  # in the place of growth
            scenes = scenes.changed(setting.protocol, renderable(scenes, self.scales))
        shown = list(scales) or renderable(scenes, self.scales)
        subject = self._subjects.get(setting.network)
        if subject is None:
            few = [shown[0], shown[len(shown) // 2], shown[-1]]
            images = torch.cat([scenes.render(scale) for scale in few])
            subject = self._subjects[setting.network] = Subject.of(model, images, self._units)
        return View(setting, item, subject, scenes, shown)


def check_measured(view: View | None, setting: Setting, problem: str) -> View:
    """Refuse what is of another setting than is asked for."""
    if view is None:
        raise SkvizError(f"nothing is measured yet; call wait() first. {problem}".strip())
    if view.setting != setting:
        asked, old = setting.named, view.setting.named
        differ = ", ".join(f"{key} {old[key]!r}" for key in asked if old[key] != asked[key])
        raise SkvizError(
            f"what is measured is of {differ}, which is not what is asked for; "
            f"call wait() first. {problem}".strip()
        )
    return view
