"""``factorial``: what moves the weights, by an experiment in which every factor is crossed.

The result is one `xarray.Dataset`:

========================  ============================  =========================================
``attention_difference``  network, image, cell, unit    the paper's measure, or that of `branches`
``coverage``              image, cell                   share of the picture that is object (NaN
                                                        where that is not known), measured
``problem``               image                         why the image was skipped
========================  ============================  =========================================

with the coordinates ``size``, ``copies``, ``blur``, ``background`` and ``scattered`` along ``cell``
and ``category`` along ``image``. Cells that cannot exist are left out, and named in the attribute
``impossible``. ``skviz.stats.main_effects`` separates the factors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import quote

import numpy as np
import xarray as xr
from torch import nn

from skviz import stats
from skviz.capture import Unit
from skviz.errors import Count, SceneError, SkvizError, entrance
from skviz.scenes.crossed import Cell, cells, crossed, fits
from skviz.scenes.source import Scenes
from skviz.studies.options import Client, Options
from skviz.studies.setting import as_scenes, readable
from skviz.studies.study import run
from skviz.studies.sweeps import Weights


@dataclass(frozen=True)
class Crossing(Weights):
    """Branch weights, and how much of the picture is object."""

    channels: bool = False
    coverage: bool = True
    pictures: bool = False
    name: ClassVar[str] = "factorial"


@entrance
def factorial(
    model: nn.Module | Mapping[str, nn.Module],
    scenes: Any,
    *,
    sizes: Sequence[float] | None = None,
    copies: Sequence[int] = (1, 4),
    blurs: Sequence[float] = (1.0, 2.0),
    backgrounds: Sequence[float] = (1.0, 2.0),
    scattered: Sequence[bool] = (False, True),
    branches: tuple[int, int] | None = None,
    units: str | Unit | Iterable[str | Unit] | None = None,
    batch: Count | None = None,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
) -> xr.Dataset:
    """Cross the size of objects with coverage, blur, background and position.

    Parameters
    ----------
    model
        Any classifier whose units' kernels are known, or several by name, such as trainings that
        differ in their seed; they must have units of the same names.
    scenes
        Scenes or cut-outs, as `skviz.sweep` takes them. Where the object is not known (photographs
        that are enlarged) size is the zoom, and only size and blur are crossed.
    sizes
        Scales at which each object is drawn; by default 0.5 and 1, of photographs 1 and 2.
    copies
        How many times: coverage grows with copies as it grows with size.
    blurs
        By how much the picture's cut-off frequency is lowered.
    backgrounds
        By how much the background is enlarged.
    scattered
        Whether objects lie where they are, and several on a grid, or at random places.
    branches
        Measure the weight of the first of these minus that of the second. By default the largest
        kernel's minus the smallest's; a twin, whose kernels are equal, needs them said.
    store
        A folder for one store of each network.
    units, batch, device, progress, chunk, on_error, client
        As `skviz.sweep` takes them.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it.

    Raises
    ------
    SkvizError
        If no cell can exist, networks have units of other names, or as `skviz.sweep` does.
    SceneError
        If an object covers nothing.

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))[:2]
    >>> ds = skviz.factorial(model, scenes, progress=False)
    >>> effects = skviz.stats.main_effects(ds)
    >>> effects["term"].values[:3].tolist()
    ['size', 'coverage', 'blur']
    """
    models = dict(model) if isinstance(model, Mapping) else {"network": model}
    if not models:
        raise SkvizError("no network is given; give one, or several by name")
    shown = as_scenes(next(iter(models.values())), scenes)
    known = shown.protocol == "rescale"
    default = (0.5, 1.0) if known else (1.0, 2.0)
    levels: dict[str, Any] = {"size": default if sizes is None else sizes, "blur": blurs}
    if known:
        levels |= {"copies": copies, "background": backgrounds, "scattered": scattered}
    there, missing = possible(shown, cells(**levels))
    options = Options(units, batch, device, progress, None, chunk, on_error, client)
    differences, sweeps = {}, []
    for name, network in models.items():
        place = None if store is None else Path(store, f"{quote(name, safe='')}.zarr")
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
        here = replace(options, store=place)
        ds = run(network, crossed(shown, there), range(len(there)), Crossing(), here)
        differences[name] = difference(ds, branches).rename("attention_difference")
        sweeps.append(ds)
    if len({tuple(ds["unit"].values) for ds in sweeps}) > 1:
        raise SkvizError("the networks have units of other names; choose some with units=[…]")
    if bool((ds["coverage"] <= 0).any()):
        raise SceneError("an object covers nothing; leave it out, or draw it larger")
    table = np.array([astuple(cell) for cell in there], float)
    factors = {field.name: ("cell", table[:, at]) for at, field in enumerate(fields(Cell))}
    found = xr.concat(list(differences.values()), xr.Variable("network", list(models))).to_dataset()
    found = found.assign(coverage=ds["coverage"], problem=ds["problem"])
    found = found.transpose("network", "image", "scale", "unit").drop_vars("scale")
    found = found.rename(scale="cell").assign_coords(factors)
    found["attention_difference"].attrs = {"long_name": "attention difference", "units": "1"}
    told = {"copies": copies, "blurs": blurs, "backgrounds": backgrounds, "scattered": scattered}
    attrs = ds.attrs | shown.attrs | {
        "impossible": [repr(cell) for cell in missing],
        "networks": list(models),
        "scales": sorted({float(size) for size in levels["size"]}),
        "sizes": list(levels["size"]),
        **{name: list(each) for name, each in told.items()},
    }  # fmt: skip
    attrs |= {} if branches is None else {"branches": list(branches)}
    for key in ("model", "model_sha256"):
        each = [ds.attrs[key] for ds in sweeps]
        attrs[key] = each if len(each) > 1 else each[0]
    return found.assign_attrs(attrs)


def possible(scenes: Scenes, wanted: list[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Tell the cells that can exist from those that cannot.

    Raises
    ------
    SkvizError
        If none can.
    """
    parts = readable(scenes) if scenes.protocol == "rescale" else ()
    lengths = [float(part.layers.extent.sum(2).amax()) for part in parts if part.layers]
    there = [cell for cell in wanted if fits(max(lengths, default=0.0), scenes.canvas, cell)]
    if not there:
        raise SkvizError("no cell can exist: the objects would lie upon each other; give sizes=")
    return there, [cell for cell in wanted if cell not in there]


def difference(ds: xr.Dataset, branches: tuple[int, int] | None) -> xr.DataArray:
    """Return the attention difference of a sweep, or that of two branches."""
    if branches is None:
        return stats.attention_difference(ds)
    first, second = (ds["weight"].isel(branch=branch) for branch in branches)
    return (first - second).drop_vars("kernel", errors="ignore")
