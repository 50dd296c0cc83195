"""How large a part of the image units look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skviz import stats
from skviz.plot import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

__all__ = ["receptive_field"]

SHOWN = 0.95  # the share of mass whose radius is drawn


@style.drawing
def receptive_field(ds: xr.Dataset, *, unit: str | None = None) -> Figure:
    """Draw the effective receptive fields of units and how their size depends on the selection.

    Parameters
    ----------
    ds
        From `skviz.receptive_field`, of at least two images.
    unit
        Whose fields are shown as pictures; by default the last but one.

    Returns
    -------
    Figure
        Of text width. Top: the field of one unit under each selection (square root of the mass,
        one colour scale; the circles hold 50 % and 95 %). Below: the radius that holds 95 % of
        the mass, by depth, and against scale where there are several. Bands and bars are 95 %
        bootstrap intervals over images.
    """
    units = [str(name) for name in ds["unit"].values]
    unit = unit or units[max(len(units) - 2, 0)]
    middle = ds["scale"].values[ds.sizes["scale"] // 2]
    selections = [str(name) for name in ds["selection"].values]
    looks = dict(zip(selections, style.series(len(selections)), strict=True))
    found = stats.estimate(ds["radius"])
    over_scale = ds.sizes["scale"] > 1
    made = style.figure("text", 4.1)
    top, bottom = np.ravel(made.subfigures(2, 1, height_ratios=(1, 1.05)))  # type: ignore[arg-type]
    _fields(ds.sel(unit=unit, scale=middle), top, f"{unit}, scale {middle:g}")
    below = bottom.subplots(1, 1 + over_scale, squeeze=False)[0]
    _by_depth(found.sel(share=SHOWN, scale=middle), looks, below[0])
    below[0].set_title(f"scale {middle:g}")
    if over_scale:
        _by_scale(found.sel(share=SHOWN, unit=unit), looks, below[1])
        below[1].set_title(style.short(unit))
    handles, names = below[0].get_legend_handles_labels()
    bottom.legend(handles, names, loc="outside upper center", ncols=len(names))
    style.describe(
        made,
        "Effective receptive fields (squared gradient of the central output position, selection "
        f"held fixed). Top: {unit} at scale {middle:g}, natural and with each kernel forced in all "
        "units; circles hold 50 % and 95 % of the mass. Below: radius that holds 95 %, mean and "
        f"95 % interval, {style.sample(ds)}.",
        radius=found,
    )
    return made


def _fields(ds: xr.Dataset, made: SubFigure, title: str) -> None:
    axes = np.atleast_1d(made.subplots(1, ds.sizes["selection"]))
    field = ds["field"] ** 0.5
    limit = float(field.max())
    reach = float(ds["radius"].sel(share=SHOWN).mean("image").max()) * 1.15
    for ax, name in zip(axes, ds["selection"].values, strict=True):
        here = field.sel(selection=name)
        mass = here.values**2
        y = float((mass.sum(1) * np.arange(mass.shape[0])).sum() / mass.sum())
        x = float((mass.sum(0) * np.arange(mass.shape[1])).sum() / mass.sum())
        ax.imshow(here, cmap="Greys", vmin=0, vmax=limit)
        turn = np.linspace(0, 2 * np.pi, 100)
        for share, dash in zip(ds["share"].values, ("-", "--"), strict=True):
            radius = float(ds["radius"].sel(selection=name, share=share).mean("image"))
            ax.plot(x + radius * np.cos(turn), y + radius * np.sin(turn), dash, lw=0.8,
                    color=style.COLOURS[1])  # fmt: skip
        ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach), aspect="equal")
        ax.set_title(str(name), pad=2)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set(visible=True, linewidth=0.4, color="0.6")
    axes[0].set_ylabel(title, fontsize=style.small())


def _by_depth(found: xr.Dataset, looks: dict[str, dict[str, Any]], ax: Axes) -> None:
    places = np.arange(found.sizes["unit"])
    for name, look in looks.items():
        _band(ax, places, found.sel(selection=name), look, name)
    ax.set_xticks(places, [style.short(str(u), 16) for u in found["unit"].values], rotation=30,
                  ha="right", rotation_mode="anchor")  # fmt: skip
    ax.set(ylabel="95 % radius (px)", ylim=(0, None))


def _by_scale(found: xr.Dataset, looks: dict[str, dict[str, Any]], ax: Axes) -> None:
    for name, look in looks.items():
        _band(ax, found["scale"].values, found.sel(selection=name), look, name)
    shown = style.apart(found["scale"].values.tolist(), 6)
    ax.set_xticks(shown, [f"{scale:g}" for scale in shown])
    ax.set(xlabel="scale", ylim=(0, None))


def _band(ax: Axes, x: np.ndarray, here: xr.Dataset, look: dict[str, Any], name: str) -> None:
    ax.plot(x, here["estimate"], label=name, **look)
    ax.fill_between(x, here["low"], here["high"], color=look["color"], alpha=0.2, lw=0)
