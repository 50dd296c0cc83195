"""What README says that the network `objects` does: measured, kept, and written by one command.

``python -m recipes findings`` measures (minutes) and keeps every number in `docs/findings.json`;
what stands between the marks in README is written from that file alone, rounded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import skviz
from skviz import stats
from skviz.scenes import cutouts
from skviz.scenes.backgrounds import crops

if TYPE_CHECKING:
    from collections.abc import Callable

    import xarray as xr
    from torch import Tensor

    from skviz.scenes.source import Scenes

__all__ = ["KEPT", "measure", "written"]

KEPT = Path(__file__).parents[1] / "docs" / "findings.json"
README = Path(__file__).parents[1] / "README.md"
SMALL, LARGE = 0.5, 2.0
GROWTH = ("copies", "copies scattered", "size", "size scattered")
CLUSTER = "category"  # two designers drew each: their scenes are not independent


def photographed(count: int, seed: int, canvas: int = 96) -> Tensor:
    """Cut backgrounds (count, 3, S, S) out of photographs that the network never saw."""
    pictures = list(cutouts.real_backgrounds(held_out=True).values())
    return crops(pictures, [seed * 1_000_003 + i for i in range(count)], canvas)


def measure(echo: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure everything; a few minutes on two cores."""
    model = skviz.load("objects")
    objects = skviz.objects(family=cutouts.HELD_OUT_FAMILIES)
    first, other = skviz.place(objects, seed=0), skviz.place(objects, seed=1)
    real = skviz.place(objects, backgrounds=photographed(len(objects), 0))
    both = [SMALL, LARGE]
    found: dict[str, Any] = {"scenes": len(objects), "categories": len(objects.categories)}
    for name, scenes in (("procedural", first), ("photographed", real)):
        echo(f"shifts, {name} backgrounds")
        swept = skviz.sweep(model, scenes, scales=both, progress=False)
        found[name] = table(stats.shift(swept, cluster=CLUSTER))
        found[f"{name} accuracy"] = swept["correct"].mean("image").values.tolist()
    found["units"] = swept["unit"].values.tolist()
    echo("controls")
    found["controls"] = compared(skviz.controls(model, other, scales=both, progress=False))
    echo("controls, photographed backgrounds")
    ds = skviz.controls(model, real, scales=both, names=GROWTH, seeds=0, progress=False)
    found["photographed controls"] = compared(ds)
    echo("interventions")
    found["accuracy"] = interventions(first, model)
    echo("receptive fields")
    ds = skviz.receptive_field(model, other[::4][:16], scales=both, progress=False)
    radius = ds["radius"].sel(share=0.95, drop=True)
    growth = radius.isel(scale=-1, drop=True) / radius.isel(scale=0, drop=True) - 1
    means = growth.mean("image")
    found["radius"] = {
        str(s): means.sel(selection=s).values.tolist() for s in means.selection.values
    }
    return found


def interventions(scenes: Scenes, model: Any) -> dict[str, list[float]]:
    """Accuracy, and its interval, of small objects with weights that are not their own."""
    swaps = {
        "large": skviz.swap(scale=LARGE),
        "background": skviz.swap(background=True),
        "object": skviz.swap(object=True),
        "mean": skviz.swap(scale=LARGE, part="mean"),
        "pattern": skviz.swap(scale=LARGE, part="pattern"),
    }
    ds = skviz.effect(model, scenes, swaps, scales=[SMALL], progress=False)
    right = ds["correct"].sel(unit="all", scale=SMALL, drop=True).astype(float)
    bounds = stats.interval(right, cluster=CLUSTER)
    names = ("estimate", "low", "high")
    return {
        str(name): [float(bounds[key].sel(intervention=name)) for key in names]
        for name in bounds["intervention"].values
    }


def table(found: xr.Dataset) -> dict[str, list[float]]:
    """Keep the numbers of each unit."""
    return {name: found[name].values.tolist() for name in ("estimate", "low", "high", "share")}


def compared(ds: xr.Dataset) -> dict[str, Any]:
    """Keep each control's shift and what the tests say of it, by name, unit by unit."""
    found = stats.compare(ds, cluster=CLUSTER)
    covered = ds["coverage"].mean("image")
    return {
        str(name): {
            "estimate": found["estimate"].sel(control=name).values.tolist(),
            "verdict": found["verdict"].sel(control=name).values.tolist(),
            "coverage": covered.sel(control=name).values.tolist(),
            "gain": ds["gain"].sel(control=name).values.tolist(),
        }
        for name in found["control"].values
    }
