"""What the answers of a model become when its selection is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["intervention_effect"]


@style.drawing
def intervention_effect(ds: xr.Dataset) -> Figure:
    """Draw accuracy against scale under every intervention, and what each costs in which unit.

    Parameters
    ----------
    ds
        From `skviz.effect`, of at least two images whose category the model knows.

    Returns
    -------
    Figure
        Of text width. Left: accuracy with the selection of all units changed. Right: the paired
        loss of the category's probability for each unit changed alone and for all together, at
        the smallest and at the largest scale. All with 95 % intervals.

    Raises
    ------
    SkvizError
        If the model does not know the categories of the images.
    """
    if "category_probability" not in ds:
        raise SkvizError("the model does not know the categories of these images, so none is right")
    changes = [str(name) for name in ds["intervention"].values]
    looks = dict(zip(changes, style.series(len(changes)), strict=True))
    accuracy = stats.estimate(ds["correct"].sel(unit="all", drop=True).astype(float))
    probability = ds["category_probability"]
    lost = stats.estimate(probability.sel(intervention=changes[0], drop=True) - probability)
    ends = list(dict.fromkeys([float(ds["scale"][0]), float(ds["scale"][-1])]))
    made = style.figure("text", 1.2 + 0.2 * ds.sizes["unit"])
    axes = made.subplots(1, 1 + len(ends), width_ratios=(1.3, *[1] * len(ends)))
    _accuracy(accuracy, looks, axes[0])
    for ax, scale in zip(axes[1:], ends, strict=True):
        _losses(lost.sel(scale=scale), {c: looks[c] for c in changes[1:]}, ax)
        ax.set_title(f"scale {scale:g}")
    for ax in axes[2:]:
        ax.sharey(axes[1])
        ax.tick_params(labelleft=False)
    style.legend(made, axes[0], width="text")
    style.describe(
        made,
        "Left: accuracy against the scale of the object when the selection of all units is "
        "changed. Right: probability of the true category lost to each change, in one unit and in "
        f"all, paired by scene. Means and 95 % intervals, {style.sample(ds)}.",
        accuracy=accuracy,
        lost=lost,
    )
    return made


def _accuracy(found: xr.Dataset, looks: dict[str, dict[str, Any]], ax: Axes) -> None:
    scales = found["scale"].values
    for change, look in looks.items():
        here = found.sel(intervention=change)
        ax.plot(scales, here["estimate"], label=change, **look)
        ax.fill_between(scales, here["low"], here["high"], color=look["color"], alpha=0.15, lw=0)
    ax.set(xlabel="scale", ylabel="accuracy", ylim=(0, 1.02))
    shown = style.apart(scales.tolist(), 6)
    ax.set_xticks(shown, [f"{scale:g}" for scale in shown])


def _losses(found: xr.Dataset, looks: dict[str, dict[str, Any]], ax: Axes) -> None:
    units = [str(unit) for unit in found["unit"].values]
    places = np.arange(len(units))
    for index, (change, look) in enumerate(looks.items()):
        here = found.sel(intervention=change)
        y = places + (index - (len(looks) - 1) / 2) * 0.7 / len(looks)
        ax.hlines(y, here["low"], here["high"], color=look["color"])
        ax.plot(here["estimate"], y, **look | {"linestyle": ""})
    ax.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    ax.axhline(len(units) - 1.5, color="0.8", linewidth=0.6)
    ax.set_yticks(places, [style.short(unit, 16) for unit in units])
    ax.set(xlabel="probability lost", ylim=(len(units) - 0.4, -0.6))
