"""A view of the explorer as a figure: for paper, and where no JavaScript runs."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from skviz.plot import labels, style


@style.drawing
def still(ds: xr.Dataset, *, scale: float, unit: str) -> style.InlineFigure:
    """Draw a scene at two scales, the branch weights of every unit, and the curves of one.

    Parameters
    ----------
    ds
        A sweep; its first image is drawn.
    scale
        The nearest scale of the sweep is drawn, against the smallest.
    unit
        The unit whose branches are drawn over all scales.

    Returns
    -------
    InlineFigure
        Of text width.
    """
    root = ds.isel(image=0)
    now = int(np.abs(root["scale"].values - scale).argmin())
    made = style.figure("text", 2.35)
    cells = made.add_gridspec(2, 3, width_ratios=(0.55, 1.2, 1.1))
    for row, index in enumerate((0, now)):
        ax = made.add_subplot(cells[row, 0])
        here = root.isel(scale=index)
        ax.imshow(here["thumbnail"].isel(example=0).values)
        ax.set(xticks=[], yticks=[], title=f"scale {here['scale'].item():g}")
        ax.spines[:].set_visible(False)
    _bars(root, now, made.add_subplot(cells[:, 1]))
    ax = made.add_subplot(cells[:, 2])
    weight = root["weight"].sel(unit=unit).dropna("branch")  # (scale, branch)
    looks = style.series(weight.sizes["branch"])
    names = labels.branches_of(weight["kernel"])
    for name, look, one in zip(names, looks, weight.transpose("branch", ...), strict=True):
        ax.plot(root["scale"], one, label=name, **look | {"marker": ""})
        ax.plot(root["scale"][now], one[now], look["marker"], color=look["color"])
    ax.axvline(root["scale"][now].item(), color="0.6", lw=0.6, zorder=0)
    ax.set(xlabel="scale", ylabel="branch weight", ylim=(0, 1), title=labels.short(unit))
    ax.legend(loc="lower right", ncols=len(looks))
    style.describe(
        made,
        f"{root['category'].item()} at scales {root['scale'].values[0]:g} and "
        f"{root['scale'].values[now]:g}: branch weights of every SK unit (black marks: at the "
        f"smaller scale), and those of {unit} over all scales. Mean over channels; "
        f"{labels.sample(ds)}.",
        weights=root["weight"].to_dataset(),
    )
    return made


def _bars(root: xr.Dataset, now: int, ax: Axes) -> None:
    """Draw the weights of all branches, unit by unit, with a mark where they were at first."""
    weight, rows = root["weight"].fillna(0), np.arange(root.sizes["unit"])
    first = weight.isel(scale=0).cumsum("branch").values  # (unit, branch)
    left = np.zeros(len(rows))
    for branch, label in enumerate(labels.branches(root["kernel"])):
        width = weight.isel(scale=now, branch=branch).values
        colour = style.COLOURS[branch % len(style.COLOURS)]
        ax.barh(rows, width, 0.7, left, color=colour, alpha=0.75, label=label)
        left = left + width
    for branch in range(root.sizes["branch"] - 1):
        label = "" if branch else f"scale {root['scale'].values[0]:g}"
        ax.vlines(first[:, branch], rows - 0.42, rows + 0.42, "black", lw=1.2, label=label)
    ax.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -0.6), xlabel="branch weight, mean over channels")
    ax.set_yticks(rows, [labels.short(str(name)) for name in root["unit"].values])
    ax.tick_params("y", length=0)
    ax.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 0.98), handlelength=0.9)
