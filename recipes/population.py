"""The study that notebook 04 reads: the paper's zoom on all test photographs of Caltech-101.

``python -m recipes population --photographs FOLDER`` measures the shipped network `caltech` (some
minutes of one core) and keeps of it what fits into a repository, in `data/studies/caltech.zarr`.
"""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
import xarray as xr

import skviz
from recipes.caltech import CATEGORIES, files
from recipes.photographs import shortest
from skviz import stats
from skviz.studies.store import save

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from skviz.scenes.source import Scenes

__all__ = ["KEPT", "ZOOMS", "measure", "soft", "study"]

KEPT = Path(__file__).parents[1] / "data" / "studies" / "caltech.zarr"
ZOOMS = (1.0, 1.25, 1.5, 2.0)
SOME = 300  # photographs that the untrained networks are shown
STEPS = 4095  # of a weight that is kept


def measure(root: Path, out: Path = KEPT, echo: Callable[[str], None] = print) -> None:
    """Measure the shipped network on the test photographs in a folder, and keep the study."""
    listed = files(root, test=True)
    paths = {"/".join(path.parts[-2:]): path for path, _ in listed}
    every = skviz.photographs(paths, category=[CATEGORIES[label] for _, label in listed])
    ds = study(skviz.load("caltech"), every.zoom(), echo)
    ds["short_side"] = ("image", [shortest(path) for path, _ in listed])
    rmtree(out, ignore_errors=True)
    echo(str(save(ds, out)))


def soft(images: Tensor, zoom: float) -> Tensor:
    """Take the detail from images that enlarging them by `zoom` would take, and enlarge nothing."""
    side = images.shape[-1]
    small = F.interpolate(images, round(side / zoom), mode="bicubic", antialias=True)
    return F.interpolate(small, side, mode="bicubic").clamp(0, 1)


def study(model: nn.Module, scenes: Scenes, echo: Callable[[str], None] = print) -> xr.Dataset:
    """Sweep over the zooms, and over three controls.

    Returns
    -------
    xarray.Dataset
        As `skviz.sweep` has it, weights in steps of 1/4095, without channels and pictures; and the
        attention difference (image, scale, unit) of the same pictures softened: ``blurred``, the
        whole picture at every scale as soft as that zoom makes a picture without pixels to spare;
        ``even``, enlarged, and at every zoom as soft as at the last. ``untrained`` is the shift of
        untrained networks, (control, image of the first 300 by chance, unit).
    """
    echo("the zoom")
    ds = skviz.sweep(model, scenes, scales=ZOOMS, channels=False, progress=False)
    names = ["weight", "probability", "prediction", "correct"]
    made = ds[names].drop_encoding().assign(prediction=ds["prediction"].astype("u1"))
    shown = {
        "blurred": lambda part, zoom: soft(part.render(1.0), zoom),
        "even": lambda part, zoom: soft(part.render(zoom), ZOOMS[-1]),
    }
    for name, draw in shown.items():
        echo(name)
        made[name] = softened(model, scenes, draw).assign_coords(image=made["image"])
    echo("untrained networks")
    order = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(0))
    some = sorted(order[:SOME].tolist())
    others = skviz.controls(model, scenes[some], scales=ZOOMS, names=(), progress=False)
    moved = others["shift"].isel(control=slice(1, None)).drop_vars("category")
    made["untrained"] = moved.rename(image="shown").astype("f4").reset_coords(drop=True)
    for name in ("weight", "probability"):
        made[name].encoding = {"dtype": "u2", "scale_factor": 1 / STEPS, "_FillValue": 65535}
    for name in shown:  # between -1 and 1
        scale = {"scale_factor": 1 / STEPS, "_FillValue": -32768}
        made[name].encoding = {"dtype": "i2", **scale}
    return made


def softened(
    model: nn.Module, scenes: Scenes, draw: Callable[[Scenes, float], Tensor]
) -> xr.DataArray:
    """Measure the attention difference of pictures drawn in another way, (image, scale, unit)."""
    found = []
    for zoom in ZOOMS:
        parts = [draw(scenes[i : i + 100], zoom) for i in range(0, len(scenes), 100)]
        pictures = skviz.photographs(torch.cat(parts)).zoom(canvas=parts[0].shape[-1])
        ds = skviz.sweep(model, pictures, scales=[1.0], channels=False, progress=False)
        found.append(stats.attention_difference(ds).drop_vars("category"))
    return xr.concat(found, "scale").assign_coords(scale=list(ZOOMS)).transpose("image", ...)
