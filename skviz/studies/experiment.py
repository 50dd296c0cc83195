"""``factorial``: what moves the weights, by an experiment in which every factor is crossed.

The result is one `xarray.Dataset`:

========================  ============================  =========================================
``attention_difference``  network, image, cell, unit    the paper's measure, or that of `branches`
``coverage``              image, cell                   share of the picture that is object (NaN
                                                        where that is not known), measured
========================  ============================  =========================================

with the coordinates ``size``, ``copies``, ``blur``, ``background`` and ``scattered`` along ``cell``
and ``category`` along ``image``. Cells that cannot exist are left out, and named in the attribute
``impossible``. ``skviz.stats.main_effects`` separates the factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from skviz import stats
from skviz.capture import Unit
from skviz.errors import SceneError, SkvizError, entrance
from skviz.scenes.crossed import Cell, cells, drawn, fits
from skviz.scenes.source import Scenes
from skviz.studies.setting import as_scenes, witnessed
from skviz.studies.sweeps import sweep

PART = 32  # scenes that are in memory at once, in all cells


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
    device: str = "auto",
    progress: bool = True,
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
    units, device, progress
        As `skviz.sweep` takes them.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it.

    Raises
    ------
    SkvizError
        If no cell can exist, or as `skviz.sweep` does.

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
    crossed: dict[str, Any] = {"size": default if sizes is None else sizes, "blur": blurs}
    if known:
        crossed |= {"copies": copies, "background": backgrounds, "scattered": scattered}
    there, missing = possible(shown, cells(**crossed))
    parts = [shown[start : start + PART] for start in range(0, len(shown), PART)]
    rows, covered = [], []
    with tqdm(
        total=len(parts) * len(models), desc="factorial", delay=2, disable=not progress
    ) as bar:
        for part in parts:
            ready = part.ready() if known else part.ready("cpu", sorted(set(crossed["size"])))
            covered.append(np.stack([coverage(ready, cell) for cell in there], 1))
            images = torch.cat([drawn(ready, cell) for cell in there])  # cells of images
            row = []
            for network in models.values():
                ds = sweep(
                    network, images, units=units, channels=False, device=device, progress=False
                )
                flat = difference(ds, branches).isel(scale=0, drop=True).transpose("image", "unit")
                row.append(flat.values.reshape(len(there), len(part), -1).swapaxes(0, 1))
                bar.update()
            rows.append(np.stack(row))  # (network, image, cell, unit)
    table = np.array([astuple(cell) for cell in there], float)
    coords: dict[str, Any] = {
        "network": list(models),
        "image": list(shown.ids),
        "category": ("image", list(shown.category)),
        "unit": ds["unit"].values,
    }
    coords |= {field.name: ("cell", table[:, at]) for at, field in enumerate(fields(Cell))}
    of_all, of_cell = ("network", "image", "cell", "unit"), ("image", "cell")
    said = {"long_name": "attention difference", "units": "1"}
    share = {"long_name": "share of the picture that is object", "units": "1"}
    grid = sorted({float(size) for size in crossed["size"]})
    each = [witnessed(network, shown, grid) for network in models.values()]
    told = {"copies": copies, "blurs": blurs, "backgrounds": backgrounds, "scattered": scattered}
    attrs = each[0] | {
        "study": "factorial",
        "impossible": [repr(cell) for cell in missing],
        "networks": list(models),
        "units": [str(name) for name in ds["unit"].values],
        "sizes": list(crossed["size"]),
        **{name: list(levels) for name, levels in told.items()},
    }
    attrs |= {} if branches is None else {"branches": list(branches)}
    if len(models) > 1:
        attrs |= {key: [one[key] for one in each] for key in ("model", "model_sha256")}
    made = {
        "attention_difference": (of_all, np.concatenate(rows, 1), said),
        "coverage": (of_cell, np.concatenate(covered), share),
    }
    return xr.Dataset(made, coords, attrs)


def possible(scenes: Scenes, wanted: list[Cell]) -> tuple[list[Cell], list[Cell]]:
    """Tell the cells that can exist from those that cannot.

    Raises
    ------
    SkvizError
        If none can.
    """
    if scenes.protocol != "rescale":
        return wanted, []
    there = [cell for cell in wanted if fits(scenes.layers, cell)]
    if not there:
        raise SkvizError("no cell can exist: the objects would lie upon each other; give sizes=")
    return there, [cell for cell in wanted if cell not in there]


def difference(ds: xr.Dataset, branches: tuple[int, int] | None) -> xr.DataArray:
    """Return the attention difference of a sweep, or that of two branches."""
    if branches is None:
        return stats.attention_difference(ds)
    first, second = (ds["weight"].isel(branch=branch) for branch in branches)
    return (first - second).drop_vars("kernel", errors="ignore")


def coverage(ready: Any, cell: Cell) -> np.ndarray:
    """How much of each picture is object, (image,); NaN if that is not known."""
    if ready.layers is None:
        return np.full(len(ready), np.nan)
    plain = Cell(cell.size, cell.copies, scattered=cell.scattered)
    covered: torch.Tensor = drawn(ready.layers.white, plain)[:, 0].mean((1, 2))
    if not bool((covered > 0).all()):
        raise SceneError("an object covers nothing; leave it out, or draw it larger")
    return covered.cpu().numpy()
