"""``explore``: the entry point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

import xarray as xr
from IPython.core.getipython import get_ipython
from torch import nn

from skviz.capture import Unit
from skviz.errors import Side, SkvizError, entrance
from skviz.explorer.code import SCALES
from skviz.explorer.model import Model
from skviz.explorer.widget import Explorer
from skviz.scenes import cutouts
from skviz.scenes.photographs import Photographs, photographs
from skviz.scenes.source import Scenes

PATIENCE = 2.0  # seconds to wait for the first grid
# By cell of a notebook: which of its runs made which explorers.
_made: dict[str, tuple[str, WeakSet[Explorer]]] = {}


@entrance
def explore(
    model: nn.Module | Mapping[str, nn.Module],
    scenes: Any = None,
    *,
    scales: Sequence[float] = SCALES,
    attribution: str | None = None,
    units: str | Unit | Iterable[str | Unit] | None = None,
    canvas: Side | None = None,
    controls: xr.Dataset | None = None,
) -> Explorer:
    """Explore what a network's units do with an object: a slider for its scale, and much else.

    Parameters
    ----------
    model
        A network with SK units, or several by name. It runs on the device that it is on. Of a
        classifier the most probable classes are shown; of one that makes pictures (image, 3, H, H)
        of the scene's side or a multiple of it, such as a restoration network, these are.
    scenes
        Cut-outs (by default all that ship), scenes, or photographs, as `skviz.photographs` takes
        them: a file, a folder, pairs of picture and mask by name, ….
    scales
        Increasing. All are measured at once; the slider then moves without the kernel.
    attribution
        A method of `skviz.attribute` whose maps are made for all scales; by default none.
    units
        Names, units, or one of them; by default all that are not degenerate.
    canvas
        Side of the scenes in pixels; by default the model's, or 96 if it names none.
    controls
        Of a network, as `skviz.controls` gives them: what else moves each unit as far as growth.

    Returns
    -------
    Explorer
        A widget. If measuring takes more than two seconds it is returned at once and shows how far
        it is; `Explorer.wait` waits for it.

    Raises
    ------
    SkvizError
        If there is nothing to show, no unit is found, the scales are not increasing, or the
        controls are of another network.

    Examples
    --------
    >>> import skviz
    >>> model, buses = skviz.load("objects"), skviz.objects(category="bus")
    >>> explorer = skviz.explore(model, buses, scales=[0.5, 1.0])
    >>> explorer.wait()
    True
    >>> explorer.ds.sizes["scale"]
    2
    >>> explorer.close()
    """
    shown: cutouts.Objects | Scenes | Photographs
    if scenes is None:
        shown = cutouts.objects()
    else:
        ready = isinstance(scenes, cutouts.Objects | Scenes | Photographs)
        shown = scenes if ready else photographs(scenes)
    made = Explorer(
        Model(
            model if isinstance(model, Mapping) else {_name(model): model},
            shown,
            scales=scales,
            units=units,
            canvas=canvas,
            controls=controls,
        ),
        pictures=shown if isinstance(shown, Photographs) else None,
        method=attribution or "",
    )
    _replace(made)
    made.wait(PATIENCE)
    return made


def _replace(made: Explorer) -> None:
    """Close what an earlier run of this cell made: it is nowhere to be seen any more."""
    asked: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    cell, run = asked.get("metadata", {}).get("cellId"), asked.get("header", {}).get("msg_id")
    if cell is None:
        return
    before, explorers = _made.get(cell, ("", WeakSet()))
    if before != run:
        for old in list(explorers):
            old.close()
        explorers = WeakSet()
    explorers.add(made)
    _made[cell] = run, explorers


def _name(model: nn.Module) -> str:
    if not isinstance(model, nn.Module):
        raise SkvizError(f"expected a torch.nn.Module, or several by name, got {type(model)}")
    card = getattr(model, "card", None)
    return str(card.name) if card else type(model).__name__
