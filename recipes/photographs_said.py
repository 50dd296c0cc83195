"""What README and the card of `caltech` say of what moves the weights, from the numbers kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from recipes.findings import signed
from recipes.photographs import NETWORKS, kept
from skviz import plot
from skviz.stats.factors import EFFECTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["card", "figure", "section"]

SCENES = {
    "caltech, zoomed photographs": "`caltech`, centre of photographs enlarged",
    "caltech, cut-out photographs": "`caltech`, cut-out photographs",
    "objects, drawings": "`objects`, drawings",
    "objects, drawings, photographed backgrounds": "the same, photographed backgrounds",
}
WEIGHTS = {
    "own": "its own",
    "own pattern, another's mean": "own pattern, another image's mean of each branch",
    "another's pattern, own mean": "another image's pattern, own mean",
    "another image's": "another image's",
    "mean of all images": "the mean of all images",
    "equal": "equal",
}


def words(name: str) -> str:
    """Read the words that stand around the numbers."""
    return Path(__file__).with_name(f"photographs.{name}.md").read_text(encoding="utf-8")


def effects(scenes: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return main effects (training, factor, unit) of a recipe and of its twin, and the factors."""
    group, shown = scenes.split(", ", 1)
    one, twin = (kept("factors", f"{name}, {shown}")["each"] for name in (group, f"{group}-twin"))
    terms = [term for term in EFFECTS if term in one["term"].values]
    first, second = (each["estimate"].sel(term=terms).values for each in (one, twin))
    return first, second, terms


def agreeing(values: np.ndarray) -> int:
    """Count the units (training, unit) that move the same way in all trainings."""
    return int((np.abs(np.sign(values).sum(0)) == len(values)).sum())


def rows() -> str:
    """Lines of the table of main effects."""
    lines = []
    for scenes, said in SCENES.items():
        one, twin, terms = effects(scenes)
        for index, term in enumerate(terms):
            here, other = one[:, index], twin[:, index]
            units = here.mean(0)
            mean, low, high = map(signed, (units.mean(), units.min(), units.max()))
            lines.append(
                f"| {said if not index else ''} | {term}{' × 2' if EFFECTS[term] else ''} "
                f"| {mean} | {low} … {high} "
                f"| {agreeing(here)} of {here.shape[1]} | {np.abs(here).mean():.3f} "
                f"| {agreeing(other)} of {here.shape[1]} | {np.abs(other).mean():.3f} |"
            )
    return "\n".join(lines)


def accuracies(group: str) -> tuple[np.ndarray, list[str]]:
    """Return accuracy (training, weights, scale) with the weights of all units replaced."""
    found = [kept("selection", name)["estimate"] for name in NETWORKS[group]]
    chosen = [
        each.sel(weights=list(WEIGHTS)).transpose("weights", "scale").values for each in found
    ]
    return np.stack(chosen), [f"{float(scale):g}" for scale in found[0]["scale"].values]


def replaced() -> str:
    """Lines of the table of weights that are not the image's own."""
    columns = [accuracies(group)[0].mean(0) for group in ("caltech", "caltech-fixed", "objects")]
    table = 100 * np.concatenate(columns, 1)
    return "\n".join(
        f"| {said} | " + " | ".join(f"{value:.0f}" for value in row) + " |"
        for said, row in zip(WEIGHTS.values(), table, strict=True)
    )


def explained(predictor: str) -> str:
    """Say how much a property explains in each unit of `caltech`, the mean of its trainings."""
    found = [kept("readings", name)["explained"]["estimate"] for name in NETWORKS["caltech"]]
    mean = np.mean([each.sel(predictor=predictor).values for each in found], 0)
    return ", ".join(f"{max(value, 0.0):.2f}".lstrip("0") for value in mean)


def balanced(group: str) -> str:
    """Say the accuracy of every training, balanced by class, in percent."""
    found = [kept("readings", name)["balanced accuracy"] for name in NETWORKS[group]]
    return ", ".join(f"{100 * zooms[0]:.1f}" for zooms in found)


def facts() -> dict[str, Any]:
    """Everything that a sentence says."""
    every = {scenes: effects(scenes) for scenes in SCENES}
    zoom, cut, drawn, _ = every.values()
    coverage = cut[2].index("coverage")  # and of drawings
    ours, twins = (
        np.concatenate([one[:, coverage].ravel() for one in both])
        for both in ((cut[0], drawn[0]), (cut[1], drawn[1]))
    )
    sizes = [found[0][:, 0] for found in (cut, drawn)]  # (training, unit) each
    same = np.concatenate(
        [np.sign(each).sum(0)[np.abs(np.sign(each).sum(0)) == 3] for each in sizes]
    )
    own, exchanged = (
        np.concatenate([accuracies(name)[0][:, at].mean(0) for name in ("caltech", "objects")])
        for at in (0, 1)
    )
    shown = kept("shown", "zoomed photographs")
    return {
        "rows": rows(),
        "replaced": replaced(),
        "positive": int((ours > 0).sum()),
        "count": ours.size,
        "twin_positive": int((twins > 0).sum()),
        "twin_count": twins.size,
        "smaller": int((same < 0).sum()),
        "same": same.size,
        "cost": f"{100 * (own - exchanged).max():.0f}",
        "zoomed": signed(float(zoom[0][:, 0].mean())),
        "explained": {name: explained(name) for name in ("all", "category", "edge density")},
        "balanced": {group: balanced(group) for group in NETWORKS if group.startswith("caltech")},
        "photographs": kept("shown", "test photographs"),
        "zoomable": kept("shown", "short side at least 192"),
        "shown": shown,
        "cut": kept("shown", "cut-out photographs"),
        "drawings": kept("shown", "drawings"),
    }


def figure() -> Figure:
    """Draw the main effects on cut-out photographs, of `caltech` and its twin."""
    groups = {"caltech": "kernels 3, 5", "caltech-twin": "twin: kernels 3, 3"}
    found = [
        kept("factors", f"{name}, cut-out photographs")["each"].drop_dims("part") for name in groups
    ]
    both = xr.concat(found, "network", combine_attrs="override")
    said = [
        group for group, one in zip(groups.values(), found, strict=True) for _ in one["network"]
    ]
    return plot.main_effects(both.assign_coords(group=("network", said)))


def section() -> str:
    """Return what README says."""
    return words("section").format(**facts())


def card() -> str:
    """Return the card of `caltech`."""
    found, alike = kept("card", "zooms"), kept("card", "alike")
    accuracy = "\n".join(
        f"| {name} | " + " | ".join(f"{100 * value:.1f}" for value in found[name]) + " |"
        for name in ("accuracy", "balanced accuracy", "confidence", "calibration error")
    )
    shares = kept("factors", "caltech, zoomed photographs")["each"].isel(network=0)
    shifts = "\n".join(
        f"| {unit} | {signed(float(here['growth']))} | {signed(float(here['growth_low']))} … "
        f"{signed(float(here['growth_high']))} |"
        for unit in shares["unit"].values
        for here in [shares.sel(unit=unit)]
    )
    return words("card").format(
        zooms=" | ".join(f"{zoom:g}" for zoom in found["zoom"]), accuracy=accuracy, shifts=shifts,
        sha256=kept("networks", "caltech"), alike=alike, **facts(),
    )  # fmt: skip
