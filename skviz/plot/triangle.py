"""Weights of three branches as points of a triangle."""

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skviz.errors import SkvizError
from skviz.plot import labels, marks, style

CORNERS = np.array([[0, 0], [1, 0], [0.5, math.sqrt(3) / 2]])  # of the branches, (3, xy)


@style.drawing
def ternary(ds: xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """Draw the way of each unit of three branches through the triangle of their weights.

    Parameters
    ----------
    ds
        A sweep.
    ax
        Draw into these axes; by default a new figure of column width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Each line is a unit's mean over images, from the
        smallest scale (hollow) to the largest; the triangle is cut where all weights are larger.

    Raises
    ------
    SkvizError
        If no unit has three branches.
    """
    if ds.sizes["branch"] < 3:
        raise SkvizError("no unit of this sweep has three branches; see scale_response for two")
    mean = ds["weight"].mean("image", skipna=False)  # (scale, unit, branch)
    three = mean.notnull().sum("branch").isel(scale=0) == 3
    mean = mean.isel(unit=three.values, branch=slice(3))
    if not mean.sizes["unit"]:
        raise SkvizError("no unit of this sweep has exactly three branches")
    table = mean.to_dataset(name="weight")
    lowest = min(0.3, max(0.0, math.floor(float(mean.min()) * 10) / 10))
    made = style.figure("column", 3.2)
    ax = ax or made.subplots()
    _frame(ax, lowest, labels.branches(mean["kernel"]))
    names = labels.units(mean["unit"].values)
    for unit, look in style.looks(names, names.__getitem__).items():
        here = marks.part(ax, table, {"unit": unit})["weight"].transpose("scale", "branch")
        way = place(here.values, lowest)
        ax.plot(*way.T, **look)
        ax.plot(*way[0], look["marker"], markerfacecolor="white", color=look["color"], zorder=3)
    labels.legend_of_units(made, ax)
    cut = f", cut at a weight of {lowest:g} for the others" if lowest else ""
    first, last = ds["scale"].values[[0, -1]]
    return style.describe(
        made,
        "Mean branch weights of each SK unit with three branches, from the smallest scale of the "
        f"object ({first:g}, hollow) to the largest ({last:g}); {labels.sample(ds)}. A corner is "
        f"all the weight on one branch{cut}; grey: equal weights.",
        weight=table,
    )


def place(weights: np.ndarray, lowest: float) -> np.ndarray:
    """Return the points (…, xy) of weights (…, 3) in the triangle where all are ≥ `lowest`."""
    return (weights - lowest) / (1 - 3 * lowest) @ CORNERS


def _frame(ax: Axes, lowest: float, names: list[str]) -> None:
    """Draw the triangle, lines of equal weight and their values along the sides."""
    ax.set(xlim=(-0.1, 1.1), ylim=(-0.13, 0.97), aspect="equal")
    ax.axis("off")
    ax.fill(*CORNERS.T, facecolor="none", edgecolor="black", linewidth=0.6, zorder=1)
    ax.plot(*place(np.full(3, 1 / 3), lowest), "+", color="0.5", markersize=6, zorder=1)
    most = 1 - 2 * lowest
    for value in np.arange(lowest, most + 1e-9, 0.1)[1:-1]:
        for branch in range(3):
            ends = np.full((2, 3), lowest)  # where this branch weighs `value`, on two sides
            ends[:, branch] = value
            for end, other in enumerate((branch + 1, branch + 2)):
                ends[end, other % 3] = 1 - value - lowest
            line = place(ends, lowest)
            ax.plot(*line.T, color="0.85", linewidth=0.5, zorder=0)
            outwards = (line[0] - line[1]) / np.hypot(*(line[0] - line[1]))
            x, y = line[0] + 0.045 * outwards
            ax.text(
                x, y, f"{value:.1f}", ha="center", va="center", fontsize=style.small(), color="0.35"
            )
    for name, corner, va in zip(names, CORNERS, ("top", "top", "bottom"), strict=True):
        x, y = corner + (corner - CORNERS.mean(0)) * np.array([0.12, 0.09])
        ax.text(x, y, name, ha="center", va=va, weight="bold")
