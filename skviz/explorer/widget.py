"""``explore``: a scene, a slider for its scale, and what every unit of a network does."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import torch
import traitlets as t
from torch import nn

from skviz.attribution.methods import METHODS
from skviz.errors import SkvizError
from skviz.explorer import page as html
from skviz.explorer.attributions import TARGETS, UNIT, explained
from skviz.explorer.code import SCALES, python
from skviz.explorer.grid import NATURAL, Subject, measure, renderable, tree
from skviz.explorer.items import OWN, Photographs, Setting, backgrounds, items, photograph
from skviz.explorer.still import still
from skviz.explorer.worker import Worker
from skviz.figures import saving as export
from skviz.scenes import cutouts
from skviz.studies.sweeps import checked

if TYPE_CHECKING:
    import xarray as xr

    from skviz.plot.style import InlineFigure
    from skviz.scenes.source import Source

__all__ = ["Explorer", "explore"]

CANVAS = 96  # pixels, for networks that name none
PATIENCE = 2.0  # seconds that `explore` waits for the first grid before it returns
YOURS = "your pictures"
SETTING = ("network", "item", "background", "protocol", "position", "intervention", "only")
# Not echoed: the hand may have moved on by the time an echo is back.
HELD = {"sync": True, "echo_update": False}


class Explorer(anywidget.AnyWidget):
    """The widget that `explore` makes. Its traits can be set, observed and linked.

    Attributes
    ----------
    scale, unit
        What is looked at; on the grid the browser needs no kernel to follow.
    network, item, background, protocol, position, intervention, only
        The setting; a change has the grid measured again. ``position`` is the object's offset
        (y, x) in canvases; ``only`` is the unit to intervene on, ``""`` for all.
    method, target
        Of the attribution; ``method=""`` for none.
    grid, maps
        What was measured (`skviz.explorer.grid.measure`,
        `skviz.explorer.attributions.explained`), with its ``setting``.
    progress, problem
        The share that is computed of what was asked (1 at rest), and what went wrong.
    """

    _esm = Path(__file__).with_name("explorer.js")
    _css = Path(__file__).with_name("explorer.css")

    scale = t.Float(1.0).tag(**HELD)
    unit = t.Unicode().tag(**HELD)
    network = t.Unicode().tag(**HELD)
    item = t.Unicode().tag(**HELD)
    background = t.Unicode(OWN).tag(**HELD)
    protocol = t.Unicode().tag(**HELD)
    position = t.List(t.Float(), [0.0, 0.0], minlen=2, maxlen=2).tag(**HELD)
    intervention = t.Unicode(NATURAL).tag(**HELD)
    only = t.Unicode().tag(**HELD)
    method = t.Unicode().tag(**HELD)
    target = t.Unicode(TARGETS[0]).tag(**HELD)

    choices = t.Dict().tag(sync=True)
    grid = t.Dict().tag(sync=True)
    maps = t.Dict().tag(sync=True)
    progress = t.Float(1.0).tag(sync=True)
    problem = t.Unicode().tag(sync=True)

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        source: cutouts.Objects | Source | Photographs,
        *,
        scales: Sequence[float],
        units: Sequence[str] | None,
        method: str,
        canvas: int | None,
    ) -> None:
        self._networks, self._scales, self._units = dict(networks), checked(scales), units
        self._canvas = canvas
        self._subjects: dict[str, Subject] = {}
        self._items = {item.name: item for item in items(source)}
        self.photographs = dict(source) if isinstance(source, Mapping) else {}
        self._worker = Worker(("point", "grid", "maps"), self._fail)
        self._failure: Exception | None = None
        first = next(iter(self._items.values()), None)
        if first is None or not networks:
            raise SkvizError("there is nothing to explore: give at least one model and one object")
        super().__init__(
            scale=min(self._scales, key=lambda scale: abs(scale - 1)),
            network=next(iter(networks)),
            item=first.name,
            protocol=first.protocols[0],
            method=method,
        )
        self.choices = self._choices()
        self.observe(self._ask, SETTING)
        self.observe(self._ask_for_maps, ["method", "target", "unit"])
        self.on_msg(self._receive)
        self._ask()

    @t.validate("network", "item", "background", "method", "target")
    def _known(self, proposal: Any) -> str:
        """Refuse what cannot be chosen."""
        name, value = proposal["trait"].name, proposal["value"]
        known: Collection[str] = {
            "network": list(self._networks),
            "item": list(self._items),
            "background": [OWN, *backgrounds()],
            "method": ["", *METHODS],
            "target": list(TARGETS),
        }[name]
        if value not in known:
            raise SkvizError(f"there is no {name} {value!r}; there are {list(known)}")
        return str(value)

    def _choices(self) -> dict[str, Any]:
        """Return what the selectors offer."""
        shown = ("name", "category", "family", "protocols")
        return {
            "items": [{key: getattr(i, key) for key in shown} for i in self._items.values()],
            "backgrounds": [OWN, *backgrounds()],
            "networks": list(self._networks),
            "methods": list(METHODS),
            "targets": list(TARGETS),
            "scales": self._scales,
        }

    # What is computed, by the worker.

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was asked is computed; return whether that came to pass.

        Raises
        ------
        Exception
            What the computation raised, if it did.
        """
        done = self._worker.wait(timeout)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return done

    def cancel(self) -> None:
        """Stop computing after the batch that is under way."""
        self._worker.cancel()
        self._worker.submit("grid", self._rest())  # once that batch has said how far it is

    def _rest(self) -> Iterator[None]:
        self.progress = 1.0
        yield

    def _ask(self, _: object = None) -> None:
        self.problem, self._failure = "", None
        self._worker.submit("grid", self._measure_grid(self._setting()))

    def _ask_for_maps(self, change: Any = None) -> None:
        if change and change["name"] == "unit" and self.target != UNIT:
            return
        if self.method:
            self.problem = ""
            self._worker.submit("maps", self._explain(self._setting()))
        else:
            self.maps = {}

    def _setting(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in SETTING}

    def _prepared(self, setting: Mapping[str, Any]) -> tuple[Subject, Source, dict[str, Any]]:
        """Return the network, scene and interventions of a setting."""
        model = self._networks[setting["network"]]
        card = getattr(model, "card", None)
        canvas = self._canvas or (card.canvas if card else CANVAS)
        scenes = self._items[setting["item"]].scenes(_setting(setting), canvas)
        subject = self._subjects.get(setting["network"])
        if subject is None:
            shown = renderable(scenes, self._scales)
            few = [shown[0], shown[len(shown) // 2], shown[-1]]
            images = torch.cat([scenes.render(scale) for scale in few])
            subject = Subject.of(model, images, self._units)
            self._subjects[setting["network"]] = subject
        return subject, scenes, subject.changes(setting["intervention"], setting["only"])

    def _measure_grid(self, setting: dict[str, Any]) -> Iterator[None]:
        self.progress = 0.0
        subject, scenes, changes = self._prepared(setting)
        yield
        for found in measure(subject, scenes, renderable(scenes, self._scales), changes):
            if isinstance(found, float):
                self.progress = min(found, 0.99)
                yield
                continue
            names = [unit["name"] for unit in found["units"]]
            if self.unit not in names:
                self.unit = names[len(names) // 2]
            self.grid = found | {"setting": setting}
        self.progress = 1.0
        self._ask_for_maps()

    def _measure_point(self, asked: Mapping[str, Any]) -> Iterator[None]:
        """Answer the browser for a scale or position off the grid."""
        subject, scenes, changes = self._prepared(asked["setting"])
        for found in measure(subject, scenes, [asked["scale"]], changes):
            if not isinstance(found, float):
                buffers = [found.pop("images"), found.pop("weights")]
                point = found | {"setting": asked["setting"]}
                self.send({"kind": "point", "number": asked["number"], "point": point}, buffers)
        yield

    def _explain(self, setting: dict[str, Any]) -> Iterator[None]:
        """Attribute the scene at every scale of the grid."""
        subject, scenes, changes = self._prepared(setting)
        scales = renderable(scenes, self._scales)
        ask = {"method": self.method, "target": self.target, "unit": self.unit}
        self.progress = 0.0
        yield
        for found in explained(subject, scenes, scales, changes, **ask):
            if isinstance(found, float):
                self.progress = min(found, 0.99)
                yield
            else:
                self.maps = found | {"setting": setting}
        self.progress = 1.0

    def _fail(self, error: Exception) -> None:
        self._failure = error
        kind = "" if isinstance(error, SkvizError) else f"{type(error).__name__}: "
        self.problem, self.progress = f"{kind}{error}", 1.0

    # What the browser asks for.

    def _receive(self, _: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        try:
            match content.get("kind"):
                case "point":
                    self._worker.submit("point", self._measure_point(content))
                case "cancel":
                    self.cancel()
                case "compute":
                    self._ask()
                case "code":
                    self.send({"kind": "code", "text": self.python})
                case "save":
                    name, whole = self._file(content["format"])
                    self.send({"kind": "file", "name": name}, [whole])
                case "picture":
                    size = (content["height"], content["width"], -1)
                    rgba, mask = (
                        torch.from_numpy(np.frombuffer(b, np.uint8).reshape(size).copy())
                        for b in buffers
                    )
                    picture = rgba[..., :3].permute(2, 0, 1)
                    self.add_photograph(content["name"], picture, mask.permute(2, 0, 1))
        except Exception as error:  # shown where it was asked; a traceback would be lost
            self._fail(error)

    def add_photograph(self, name: str, picture: torch.Tensor, mask: torch.Tensor) -> None:
        """Add a photograph to what can be chosen, and show it.

        Parameters
        ----------
        name
            Any text.
        picture, mask
            As `skviz.scenes.pictures` takes them.

        Raises
        ------
        DataError
            If one of them cannot be read, or the mask is empty.
        SceneError
            If the mask covers the whole picture, or has another size.
        """
        item = photograph(name, picture, mask, family=YOURS)
        item.make(CANVAS)  # complain now
        self.photographs[name] = (picture, mask)
        self._items[item.name] = item
        self.choices = self._choices()
        self.position, self.background = [0.0, 0.0], OWN
        self.protocol, self.item = "rescale", item.name
        self._ask()  # also if a picture of this name was there before

    # What can be taken away.

    @property
    def python(self) -> str:
        """A program that measures the present view."""
        setting = self._setting()
        subject, scenes, changes = self._prepared(setting)
        return python(
            subject.model,
            self._items[self.item],
            _setting(setting),
            subject.canvas,
            scales=renderable(scenes, self._scales),
            scale=self.scale,
            unit=self.unit,
            changes=changes,
            method=self.method,
            target=self.target,
        )

    @property
    def ds(self) -> xr.DataTree:
        """The grid as `skviz.sweep` would give it, for statistics and plots.

        Raises
        ------
        SkvizError
            If nothing is measured yet.
        """
        if not self.grid:
            raise SkvizError("nothing is measured yet; call wait() first")
        subject, scenes, _ = self._prepared(self.grid["setting"])
        return tree(subject, scenes, self.grid)

    def figure(self) -> InlineFigure:
        """Draw the present view for paper; `skviz.save_figure` writes it."""
        return still(self.ds, scale=self.scale, unit=self.unit)

    def _file(self, ending: str) -> tuple[str, bytes]:
        """Return a name for a file of the present view, and what is in it."""
        stem = re.sub(r"[^\w.-]+", "-", f"{self.item}-{self.scale:g}").strip("-.")
        with TemporaryDirectory() as folder:
            path = Path(folder, f"{stem}{ending}")
            if ending == ".html":
                html.export_html(self, path)
            else:
                export.save_figure(self.figure(), path)
            return path.name, path.read_bytes()

    def __repr__(self) -> str:
        return f"<skviz.Explorer of {self.network!r}: {self.item} at scale {self.scale:g}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Show the widget, and a figure where no JavaScript runs."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle and self.grid:
            bundle[0]["image/png"] = base64.b64encode(self.figure()._repr_png_()).decode()
        return bundle


def _setting(setting: Mapping[str, Any]) -> Setting:
    y, x = setting["position"]
    return Setting(setting["protocol"], setting["background"], (y, x))


def explore(
    model: nn.Module | Mapping[str, nn.Module],
    objects: cutouts.Objects | Source | Photographs | None = None,
    *,
    scales: Sequence[float] = SCALES,
    attribution: str | None = None,
    units: Sequence[str] | None = None,
    canvas: int | None = None,
) -> Explorer:
    """Explore what a network's units do with an object: a slider for its scale, and much else.

    Parameters
    ----------
    model
        A classifier with SK units, or several by name. It runs on the device that it is on.
    objects
        Cut-outs (by default all that ship), photographs by name with masks as `skviz.photographs`
        gives them, or scenes (`skviz.place`, `skviz.zoom`, `skviz.from_photographs`).
    scales
        Increasing. All are measured at once; the slider then moves without the kernel.
    attribution
        A method of `skviz.attribute` whose maps are made for all scales; by default none.
    units
        Names as `skviz.find_units` gives them; by default all that are not degenerate.
    canvas
        Side of the scenes in pixels; by default the model's, or 96 if it names none.

    Returns
    -------
    Explorer
        A widget. If measuring takes more than two seconds it is returned at once and shows how far
        it is; `Explorer.wait` waits for it.

    Raises
    ------
    SkvizError
        If there is nothing to show, no unit is found, or the scales are not increasing.
    """
    networks = model if isinstance(model, Mapping) else {_name(model): model}
    made = Explorer(
        networks,
        cutouts.objects() if objects is None else objects,
        scales=scales,
        units=units,
        method=attribution or "",
        canvas=canvas,
    )
    made.wait(PATIENCE)
    return made


def _name(model: nn.Module) -> str:
    if not isinstance(model, nn.Module):
        raise SkvizError(f"expected a torch.nn.Module, or several by name, got {type(model)}")
    card = getattr(model, "card", None)
    return str(card.name) if card else type(model).__name__
