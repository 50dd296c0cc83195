"""What a unit or a map looks at, as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import drawable, labels, marks, style

SHOWN = 0.95  # the share of mass whose radius is drawn


@style.drawing
def receptive_field(ds: xr.Dataset, *, unit: str | None = None) -> Figure:
    """Draw the effective receptive fields of units and how their size depends on the selection.

    Parameters
    ----------
    ds
        From `skviz.receptive_field`.
    unit
        Whose fields are shown as pictures; by default the last but one.

    Returns
    -------
    Figure
        Of text width. Top: the field of one unit under each selection (square root of the mass,
        one colour scale; the circles hold 50 % and 95 %). Below: the radius that holds 95 % of
        the mass, by depth, and against scale where there are several. Bands are 95 % intervals
        over images.
    """
    units = labels.units(ds["unit"].values, 16)
    unit = unit or list(units)[max(len(units) - 2, 0)]
    drawable.held(ds, unit=[unit])
    middle = float(ds["scale"].values[ds.sizes["scale"] // 2])
    looks = style.looks(ds["selection"].values)
    found = stats.estimate(ds["radius"])
    over_scale = ds.sizes["scale"] > 1
    made = style.figure("text", 4.1)
    top, bottom = np.ravel(made.subfigures(2, 1, height_ratios=(1, 1.05)))  # type: ignore[arg-type]
    shown = ds["field"].sel(unit=unit, scale=middle)
    _fields(shown, found.sel(unit=unit, scale=middle), top, f"{units[unit]}\nscale {middle:g}")
    depth, *rest = bottom.subplots(1, 1 + over_scale, squeeze=False)[0]
    marks.lines(depth, found, "unit", "selection", looks, share=SHOWN, scale=middle)
    labels.units_below(depth, list(units), style.inches("text") / (1 + over_scale) - 0.8, 16)
    depth.set(ylabel=f"{SHOWN:.0%} radius (px)".replace("%", " %"), ylim=(0, None),
              title=labels.scale(middle))  # fmt: skip
    for ax in rest:
        marks.lines(ax, found, "scale", "selection", looks, share=SHOWN, unit=unit)
        labels.scale_axis(ax, ds["scale"].values.tolist(), 6)
        ax.set(ylim=(0, None), title=units[unit])
    handles, names = depth.get_legend_handles_labels()
    bottom.legend(handles, names, loc="outside upper center", ncols=len(names))
    shares = " and ".join(f"{100 * share:g} %" for share in ds["share"].values)
    return style.describe(
        made,
        "Effective receptive fields (squared gradient of the central output position, selection "
        f"held fixed). Top: {style.called(unit)} at scale {middle:g}, natural and with each kernel "
        f"forced in all units; circles hold {shares} of the mass. Below: radius that holds "
        f"{100 * SHOWN:g} %, {found.attrs['method']}, {labels.sample(ds)}.",
        radius=found,
    )


def _fields(field: xr.DataArray, radius: xr.Dataset, made: SubFigure, title: str) -> None:
    """Draw the fields (selection, y, x) around their centres, with circles of their radii."""
    axes = made.subplots(1, field.sizes["selection"], squeeze=False)[0]
    mass = field.transpose("selection", ...).values
    marks.pictures(axes, mass**0.5, cmap="Greys", vmin=0, vmax=mass.max() ** 0.5)
    reach = float(radius["estimate"].sel(share=SHOWN).max()) * 1.15
    turn = np.linspace(0, 2 * np.pi, 100)
    for ax, name, here in zip(axes, field["selection"].values, mass, strict=True):
        y, x = (float((here.sum(1 - axis) * np.arange(here.shape[axis])).sum() / here.sum())
                for axis in (0, 1))  # fmt: skip
        for share, dash in zip(radius["share"].values, ("-", "--"), strict=True):
            side = float(radius["estimate"].sel(selection=name, share=share))
            ax.plot(x + side * np.cos(turn), y + side * np.sin(turn), dash, lw=0.8,
                    color=style.COLOURS[1])  # fmt: skip
        ax.set(xlim=(x - reach, x + reach), ylim=(y + reach, y - reach), aspect="equal")
        ax.set_title(str(name), pad=2)
    axes[0].set_ylabel(title, fontsize=style.small())


@style.drawing
def attribution_grid(
    ds: xr.Dataset,
    *,
    image: int = 0,
    scales: Sequence[float] | None = None,
    targets: Sequence[str] | None = None,
    quantile: float = 0.995,
) -> Figure:
    """Draw scene and attributions (rows) at several scales (columns).

    Parameters
    ----------
    ds
        Attributions of scenes (`skviz.attribute`).
    image
        Which scene.
    scales, targets
        Which to draw; by default all.
    quantile
        Of the size of the attributions of a row, where its colours saturate.

    Returns
    -------
    Figure
        Of text width. Each row has colours of its own, symmetric about zero and the same at all
        scales. Over each map: the target's value, and the share of the map's size that lies
        on the object.

    Raises
    ------
    SkvizError
        If these are attributions of plain images, or lack a scale or target.
    """
    if "scene" not in ds:
        raise SkvizError("expected attributions of scenes over scales; see skviz.attribute")
    asked = {"scale": scales, "target": targets}
    chosen = {name: list(values) for name, values in asked.items() if values is not None}
    drawable.held(ds, **chosen)
    shown = ds.sel(chosen).isel(image=image)
    limits = abs(shown["attribution"]).quantile(quantile, ("scale", "y", "x"))
    shown = shown.assign(limit=limits.drop_vars("quantile"))
    rows, columns = 1 + shown.sizes["target"], shown.sizes["scale"]
    side = style.inches("text") / (columns + 1.1)
    narrow = side < style.wide(16.8)  # than the line over a map
    above = 0.36 if narrow else 0.24
    made = style.figure("text", rows * (side + above) + 0.1)
    places = made.subplots(rows, columns + 1, width_ratios=[1] * columns + [0.07], squeeze=False)
    axes, bars = places[:, :-1], places[:, -1]
    bars[0].axis("off")
    marks.pictures(axes[0], shown["scene"].transpose("scale", ...).values)
    for ax, scale in zip(axes[0], shown["scale"].values, strict=True):
        ax.set_title(labels.scale(scale), pad=2)
    high = min(side, style.high(made) / rows - above)
    labels.row(axes[0, 0], str(shown["image"].item()), high)
    for line, bar, target in zip(axes[1:], bars[1:], shown["target"].values, strict=True):
        _maps(shown.sel(target=target), list(line), bar, "\n" if narrow else ", ")
        labels.row(line[0], labels.target(str(target)), high)
    error = shown["completeness_error"]
    holds = (
        f"; completeness error at most {float(error.max()):.1%}" if error.notnull().any() else ""
    )
    return style.describe(
        made,
        f"Attributions ({ds.attrs['method']}, baseline {ds.attrs['baseline']}{holds}) of one scene "
        "over the scale of its object: red raises the target, blue lowers it. Over each map the "
        "target's value and the share of the attributions' size that lies on the object. "
        f"Colours saturate at the {quantile:.1%} quantile of each row.",
        maps=shown.drop_vars(["attribution", "scene", "content", "problem"], errors="ignore"),
    )


def _maps(shown: xr.Dataset, axes: list[Axes], beside: Axes, then: str) -> None:
    """Draw the maps of one target at all scales, and what their colours mean."""
    limit = float(shown["limit"])
    vmax = limit or 1e-12  # a map may be zero everywhere
    maps = shown["attribution"].transpose("scale", ...).values
    marks.pictures(axes, maps, cmap="RdBu_r", vmin=-vmax, vmax=vmax, interpolation="nearest")
    for ax, scale in zip(axes, shown["scale"].values, strict=True):
        here = shown.sel(scale=scale)
        inside = f"{then}{here['inside'].item():.0%} inside" if here["inside"].notnull() else ""
        ax.set_title(f"{here['value'].item():.3g}{inside}", pad=2, fontsize=style.small())
    bar = axes[0].figure.colorbar(axes[0].images[0], cax=beside, ticks=[-vmax, 0, vmax])
    bar.ax.set_yticklabels([f"{-limit:.1g}", "0", f"{limit:.1g}"])
