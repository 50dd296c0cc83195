"""The widget: a scene, a slider for its scale, and what every unit of a network does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets as t
import xarray as xr

from skviz.errors import SkvizError
from skviz.explorer import page
from skviz.explorer.attributions import TARGETS, UNIT, about
from skviz.explorer.code import picked
from skviz.explorer.items import NATURAL, OWN, SETTING, Setting
from skviz.explorer.kept import Kept
from skviz.explorer.model import SMALL, Model, View, check_measured
from skviz.explorer.saving import file_of, saved
from skviz.explorer.worker import Worker
from skviz.plot.style import InlineFigure
from skviz.scenes.photographs import Photographs

# Not echoed: the hand may have moved on by the time an echo is back.
HELD = {"sync": True, "echo_update": False}
HEARD = {"kind": "heard"}  # a sign of life for the browser, before what may take long


class Explorer(Kept):
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
        What was measured (``skviz.explorer.model.View.payload``,
        ``skviz.explorer.attributions.explained``), with the ``setting`` that it is of.
    controls
        What controls say of the units (``skviz.explorer.verdicts.verdicts``).
    progress
        The share that is computed of what was asked (1 at rest).
    failure
        What went wrong, as ``text``, and the ``setting`` (and ``scale``) that it is about.
    """

    _esm = page.JAVASCRIPT
    _css = page.CSS

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
    controls = t.Dict().tag(sync=True)
    progress = t.Float(1.0).tag(sync=True)
    failure = t.Dict().tag(sync=True)

    def __init__(self, model: Model, *, pictures: Photographs | None, method: str) -> None:
        self._model = model
        self.photographs = {one.ids[0]: one for one in pictures or ()}
        self._worker = Worker(("point", "grid", "still", "thumbnails", "maps"), self._fail)
        self._error: Exception | None = None
        self._view: View | None = None  # what `grid` is of
        super().__init__(
            scale=min(model.scales, key=lambda scale: abs(scale - 1)),
            network=model.first.network,
            item=model.first.item,
            protocol=model.first.protocol,
            method=method,
            choices=model.choices(),
            controls=model.controls,
        )
        self.observe(self._ask, SETTING)
        self.observe(self._ask_for_maps, ["method", "target", "unit"])
        self.on_msg(self._receive)
        self._ask()

    @t.validate("network", "item", "background", "method", "target")
    def _known(self, proposal: Any) -> str:
        return self._model.check(proposal["trait"].name, proposal["value"])

    # What is computed, by the worker.

    @property
    def problem(self) -> str:
        """What went wrong, ``""`` if nothing did."""
        return str(self.failure.get("text", ""))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that was asked is computed; return whether that came to pass.

        Raises
        ------
        Exception
            What the computation raised, if it did.
        """
        done = self._worker.wait(timeout)
        error, self._error = self._error, None
        if error is not None:
            raise error
        return done

    def cancel(self) -> None:
        """Stop computing after the batch that is under way."""
        self._worker.cancel()
        self._worker.submit("grid", self._rest())  # once that batch has said how far it is

    def _rest(self) -> Iterator[None]:
        self.progress = 1.0
        self.failure = {"text": "Stopped before it was done.", "setting": self._setting.named}
        yield

    @property
    def _setting(self) -> Setting:
        return Setting.of({name: getattr(self, name) for name in SETTING})

    def _ask(self, _: object = None) -> None:
        self.send(HEARD)
        self.failure, self._error = {}, None
        self._compute("grid", self._measure(self._setting))

    def _ask_for_maps(self, change: Any = None, *, fine: bool = False) -> None:
        if change and change["name"] == "unit" and self.target != UNIT:
            return
        self.send(HEARD)
        if self.method:
            self.failure = {}
        else:
            self.maps = {}
        self._compute("maps", self._explain(self._setting, fine))

    def _compute(self, kind: str, shares: Iterator[float]) -> None:
        self._worker.submit(kind, self._counted(shares), {"setting": self._setting.named})

    def _counted(self, shares: Iterator[float]) -> Iterator[None]:
        """Say how far it is."""
        self.progress = 0.0
        yield
        for share in shares:
            self.progress = min(share, 0.99)
            yield
        self.progress = 1.0

    def _measure(self, setting: Setting) -> Iterator[float]:
        """Measure the scene at every scale, and then attribute it."""
        view = self._model.view(setting)
        yield from view.measure()
        names = [unit["name"] for unit in view.payload["units"]]
        if self.unit not in names:
            self.unit = names[len(names) // 2]
        self._view, self.grid = view, view.payload
        self._later(self._keep())
        if self.method:
            self._ask_for_maps()

    def _thumbnails(self, names: Sequence[str]) -> Iterator[None]:
        found = [self._model.thumbnail(name) for name in names]
        self.send({"kind": "thumbnails", "names": names, "side": SMALL}, [b"".join(found)])
        yield

    def _measure_point(self, asked: Mapping[str, Any]) -> Iterator[None]:
        """Answer the browser for a scale or position off the grid."""
        view = self._model.view(Setting.of(asked["setting"]), [asked["scale"]])
        for _ in view.measure():
            pass
        if "number" in self.failure:
            self.failure = {}
        point = dict(view.payload)
        buffers = [point.pop(name) for name in ("images", "weights", "outputs")]
        self.send({"kind": "point", "number": asked["number"], "point": point}, buffers)
        yield

    def _explain(self, setting: Setting, fine: bool) -> Iterator[float]:
        """Attribute the scene at every scale of the grid, if that is asked for."""
        if not self.method:
            self.maps = {}  # also what a step that was under way has made meanwhile
            return
        ask = {"method": self.method, "target": self.target, "unit": self.unit, "fine": fine}
        for share, maps in self._model.view(setting).explain(self.scale, **ask):
            if maps:
                self.maps = maps
            yield share

    def _fail(self, asked: Mapping[str, Any], error: Exception) -> None:
        self._error = error
        kind = "" if isinstance(error, SkvizError) else f"{type(error).__name__}: "
        known = {key: asked[key] for key in ("setting", "scale", "number") if key in asked}
        self.failure = {"text": f"{kind}{error}", **known}
        if "number" not in asked:  # the grid is measured all the same
            self.progress = 1.0

    # What the browser asks for.

    def _receive(self, _: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        self.send(HEARD)
        try:
            match content.get("kind"):
                case "point":
                    self._worker.submit("point", self._measure_point(content), content)
                case "thumbnails":
                    self._worker.submit("thumbnails", self._thumbnails(content["names"]))
                case "cancel":
                    self.cancel()
                case "compute":
                    self._ask()
                case "refine":
                    self._ask_for_maps(fine=True)
                case "save":
                    name, whole = file_of(self, content["format"])
                    self.send({"kind": "file", "name": name}, [whole])
                case "picture":
                    shape = (content["height"], content["width"], -1)
                    read = [np.frombuffer(b, np.uint8).reshape(shape).copy() for b in buffers]
                    rgba, mask = (torch.from_numpy(one).permute(2, 0, 1) for one in read)
                    self.add_photograph(content["name"], rgba[:3], mask)
        except Exception as error:  # shown where it was asked; a traceback would be lost
            self._fail({}, error)

    def add_photograph(self, name: str, picture: torch.Tensor, mask: torch.Tensor) -> None:
        """Add a photograph to what can be chosen, and show it.

        Parameters
        ----------
        name
            Any text; a number is added if there is such a photograph.
        picture, mask
            As `skviz.scenes.pictures` takes them.

        Raises
        ------
        DataError
            If one of them cannot be read, or the mask is empty.
        SceneError
            If the mask covers the whole picture, or has another size.
        """
        title, number = name, 1
        while title in self.photographs:  # what is shown of one must not pass for another
            number += 1
            title = f"{name} {number}"
        item, self.photographs[title] = self._model.add(title, picture, mask)
        self.choices = self._model.choices()
        self.position, self.background = [0.0, 0.0], OWN
        self.protocol, self.item = "rescale", item.name

    # What can be taken away: always of one moment.

    @property
    def _shown(self) -> View:
        """What was measured, if it is of what is asked for."""
        return check_measured(self._view, self._setting, self.problem)

    @property
    def python(self) -> str:
        """A program that measures the present view."""
        view = self._shown
        of = about(self.method, self.target, self.unit) | {"setting": view.setting.named}
        code = self.maps["code"] if of.items() <= self.maps.items() else []
        return "\n".join([*view.code, *code, picked(view.nearest(self.scale), self.unit)])

    @property
    def ds(self) -> xr.Dataset:
        """The grid as `skviz.sweep` would give it, for statistics and plots.

        Raises
        ------
        SkvizError
            If what is asked for is not measured yet.
        """
        return self._shown.ds

    def figure(self) -> InlineFigure:
        """Draw the present view for paper, if it is measured; `save` writes it."""
        return self._drawn(self._shown)

    def _drawn(self, view: View) -> InlineFigure:
        from skviz.explorer.still import still  # Matplotlib, which the first view does not need

        return still(view.ds, scale=self.scale, unit=self.unit)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        live: bool = False,
        objects: int | Sequence[str] = 24,
        **options: Any,
    ) -> Path:
        """Write the present view: as a page whose slider needs no kernel, or as a figure.

        Parameters
        ----------
        path
            Ending in ``.html`` for a page in one file, or as `skviz.save_figure` wants it. The
            folder is made if need be.
        live
            Put the network into the page, some 9 MB, where it runs without kernel, server or
            connection; needs ``pip install "skviz[live]"`` to be written.
        objects
            Of a live page: how many can be chosen there, or which, by name.
        options
            Of `skviz.save_figure`.

        Returns
        -------
        Path
            Where it was written.

        Raises
        ------
        SkvizError
            For another ending, if what is asked for is not measured yet, or if the file cannot be
            written.
        """
        return saved(self, Path(path), live=live, objects=objects, options=options)

    def __repr__(self) -> str:
        return f"<skviz.Explorer of {self.network!r}: {self.item} at scale {self.scale:g}>"

    def _picture(self) -> bytes | None:
        view = self._view  # once: the hand may ask for another while this one is drawn
        return self._drawn(view)._repr_png_() if view and view.setting == self._setting else None

    def _later(self, job: Iterator[None]) -> None:
        self._worker.submit("still", job)

    def close(self) -> None:
        """Stop computing and take leave of the browser."""
        self._worker.cancel()
        super().close()
