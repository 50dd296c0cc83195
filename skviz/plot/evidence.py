"""Claims beside what could refute them: controls, interventions, and tests of attributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import drawable, labels, marks, style
from skviz.studies.effects import ALL, NATURAL

HOLLOW = {"markerfacecolor": "white"}
VERDICTS = ("verdict", {"undecided": HOLLOW, "same": HOLLOW | {"marker": "D"}})


@style.drawing
def control_shifts(
    ds: xr.Dataset, *, units: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the shift of every unit under the claim and under its controls.

    Parameters
    ----------
    ds
        From `skviz.controls`.
    units
        Which to show; by default all, or as many as the page has room for, spread over the depth.
    ax
        Draw one unit into these axes; by default a new figure of text width.

    Returns
    -------
    Figure
        The one made, or that of the axes; one panel per unit with shared axes: mean shift of the
        attention difference and its 95 % interval over images; shaded, the claim's. Marks say what
        `skviz.stats.compare` finds, paired by image: a filled one that the control's shift differs
        from the claim's, a hollow diamond that it is the same, a hollow circle that neither is
        known.

    Raises
    ------
    SkvizError
        If the study lacks a unit.
    """
    found = stats.compare(ds)
    every = [str(name) for name in found["unit"].values]
    names = [str(name) for name in found["control"].values]
    looks = {n: {"color": style.COLOURS[n != names[0]], "marker": "o"} for n in names}
    columns = min(6, max(1, int((style.inches("text") - 1.2) / style.wide(12))))
    tall = 0.165 * len(names) + 0.2  # inches of a row, where labels have 8 points
    fit = columns * max(1, int((style.tall() / style.enlarged() - 0.5) / tall))
    chosen = drawable.chosen(ds, units, ax, fit)
    called = labels.units(every, 14)
    columns = min(len(chosen), columns)
    rows = -(-len(chosen) // columns)
    made = style.figure("text", 0.55 + tall * rows)
    shared: Any = {"sharex": True, "sharey": True}
    axes = [ax] if ax else made.subplots(rows, columns, squeeze=False, **shared).ravel()
    for each, unit in zip(axes, chosen, strict=False):
        claim = found.sel(unit=unit, control=names[0])
        each.axvspan(claim["low"], claim["high"], color=style.COLOURS[0], alpha=0.15, lw=0)
        labels.zero_line(each, upright=True)
        marks.points(each, found, "control", "control", looks, variants=VERDICTS, unit=unit)
        each.set_title(called[unit])
    for each in axes[len(chosen) :]:
        each.axis("off")
    if ax is None:
        made.supxlabel("shift of the attention difference", fontsize=style.small())
    else:
        ax.set_xlabel("shift of the attention difference")
    part = f" Shown: {len(chosen)} of {len(every)} units." if len(chosen) < len(every) else ""
    return style.describe(
        made,
        "Shift of the attention difference from the smallest to the largest scale: the claim "
        f"({names[0]}) and its controls, {found.attrs['method']}. Compared with the claim, paired "
        "by scene and Holm-corrected over units at 5 %: filled, differs (Wilcoxon); hollow "
        f"diamond, the same within {_margins(found)} (TOST); hollow circle, neither is known. "
        f"{labels.sample(ds)}.{part}",
        shifts=found,
    )


def _margins(found: xr.Dataset) -> str:
    """Say within what two shifts are called the same: one number, or a range over units."""
    low, high = float(found["margin"].min()), float(found["margin"].max())
    return f"±{low:.2g}" if low == high else f"±{low:.2g} … ±{high:.2g}"


@style.drawing
def intervention_effect(ds: xr.Dataset) -> Figure:
    """Draw accuracy against scale under every intervention, and what each costs in which unit.

    Parameters
    ----------
    ds
        From `skviz.effect`, of images whose category the model knows.

    Returns
    -------
    Figure
        Of text width. Left: accuracy with the selection of all units changed. Right: the paired
        loss of the category's probability for each unit changed alone and for all together, at
        the smallest and at the largest scale. All with 95 % intervals.

    Raises
    ------
    SkvizError
        If the model does not know the categories of the images, or the natural run is missing.
    """
    if not {"category_probability", "correct"} <= set(ds.data_vars):
        raise SkvizError("the model does not know the categories of these images, so none is right")
    drawable.held(ds, unit=[ALL])
    changes = [str(name) for name in ds["intervention"].values]
    if NATURAL not in changes:
        raise SkvizError(f"expected the intervention {NATURAL!r} to compare with, got {changes}")
    looks = style.looks(changes)
    accuracy = stats.estimate(ds["correct"].sel(unit=ALL, drop=True).astype(float))
    probability = ds["category_probability"]
    lost = stats.estimate(probability.sel(intervention=NATURAL, drop=True) - probability)
    ends = list(dict.fromkeys([float(ds["scale"][0]), float(ds["scale"][-1])]))
    made = style.figure("text", 1.2 + 0.2 * ds.sizes["unit"])
    axes = made.subplots(1, 1 + len(ends), width_ratios=(1.3, *[1] * len(ends)))
    marks.lines(axes[0], accuracy, "scale", "intervention", looks, band=0.15)
    axes[0].set(ylabel="accuracy", ylim=(0, 1.02))
    labels.scale_axis(axes[0], ds["scale"].values.tolist(), 6)
    for ax, scale in zip(axes[1:], ends, strict=True):
        _losses(ax, lost, {c: look for c, look in looks.items() if c != NATURAL}, scale)
    for ax in axes[2:]:
        ax.sharey(axes[1])
        ax.tick_params(labelleft=False)
    labels.legend(made, axes[0])
    return style.describe(
        made,
        "Left: accuracy against the scale of the object when the selection of all units is "
        f"changed: {accuracy.attrs['method']}. Right: probability of the true category lost to "
        "each change, in one unit and in all, paired by scene: "
        f"{lost.attrs['method']}, {labels.sample(ds)}.",
        accuracy=accuracy,
        lost=lost,
    )


def _losses(ax: Axes, lost: xr.Dataset, looks: dict[str, dict[str, Any]], scale: float) -> None:
    marks.points(ax, lost, "unit", "intervention", looks, scale=scale)
    narrow = style.inches("text") < style.wide(84)
    own = [str(name) for name in lost["unit"].values if name != ALL]
    called = labels.units(own, 10 if narrow else 16)
    names = {str(name): called.get(str(name), ALL) for name in lost["unit"].values}
    labels.zero_line(ax, upright=True)
    ax.axhline(list(names).index(ALL) - 0.5, color="0.8", linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(2 if narrow else 3, min_n_ticks=2))
    ax.set(xlabel="probability\nlost" if narrow else "probability lost",
           ylim=(len(names) - 0.4, -0.6), title=f"scale {scale:g}")  # fmt: skip
    labels.units_left(ax, list(names.values()), 1)


@style.drawing
def faithfulness(ds: xr.Dataset) -> Figure:
    """Draw deletion and insertion curves, and how maps change as layers are randomised.

    Parameters
    ----------
    ds
        From `skviz.faithfulness`.

    Returns
    -------
    Figure
        Of text width, a row per target. Means over images with 95 % intervals; dashed: pixels in
        random order. How much the map of another class resembles that of a class, its caption says.

    Raises
    ------
    SkvizError
        If these are tests at several scales.
    """
    if "scale" in ds.dims:
        if ds.sizes["scale"] > 1:
            raise SkvizError("these are tests at several scales; choose one: ds.sel(scale=[1.0])")
        ds = ds.squeeze("scale")
    targets = [str(name) for name in ds["target"].values]
    kinds = ("deletion", "insertion", "rank_correlation")
    tables = {name: stats.estimate(ds[name]) for name in kinds if name in ds}
    others = stats.estimate(ds["class_correlation"].dropna("target", how="all"))
    alike = ", ".join(
        f"{e:+.2f} ({labels.target(t)})" for t, e in others["estimate"].to_series().items()
    )
    if "rank_correlation" in tables:
        tables["rank_correlation"] = _from_trained(tables["rank_correlation"])
    made = style.figure("text", 0.4 + 1.45 * len(targets))
    axes = made.subplots(len(targets), len(tables), squeeze=False, sharex="col")
    orders = {key: look | {"marker": ""} for key, look in style.looks(ds["order"].values).items()}
    for row, target in zip(axes, targets, strict=True):
        for ax, name in zip(row, kinds[:2], strict=False):
            marks.lines(ax, tables[name], "fraction", "order", orders, target=target)
        labels.row(row[0], labels.target(target), style.high(made) / len(targets) - 0.4)
        if len(row) == 3:
            look = {"color": style.COLOURS[2], "marker": "o"}
            marks.lines(row[2], tables[kinds[2]], "randomised", "target", {target: look}, band=None)
            labels.zero_line(row[2])
            row[2].set(ylim=(-0.3, 1.05))
    for column, name in enumerate(tables):
        axes[0, column].set_title(name.replace("_", " "))
        axes[-1, column].set_xlabel("fraction of pixels" if column < 2 else "random from")
    if len(tables) == 3:
        names = _beginnings([str(name) for name in tables[kinds[2]]["randomised"].values])
        most = int(style.inches("text") / 3 / style.wide(5.5))  # that stand beside each other
        shown = drawable.spread(range(len(names)), most)
        axes[-1, 2].set_xticks(shown, [labels.short(names[i], 18) for i in shown])
        labels.turn(axes[-1, 2], 40)
    axes[0, 0].legend()
    return style.describe(
        made,
        f"Tests of the attributions ({ds.attrs['method']}): value of the target as pixels are "
        "deleted or inserted in the order of attribution or at random, and rank correlation of "
        "the map with that of the network whose layers from the named one on are random: "
        f"{tables['deletion'].attrs['method']} over {ds.sizes['image']} images."
        + (f" Rank correlation with the map of another class: {alike}." if alike else ""),
        **tables,
    )


def _from_trained(found: xr.Dataset) -> xr.Dataset:
    """Begin with the trained network, whose map is the same as itself."""
    same = xr.ones_like(found.isel(randomised=[0])).assign_coords(randomised=["trained"])
    return xr.concat([same, found], "randomised", combine_attrs="drop_conflicts")


def _beginnings(names: list[str]) -> list[str]:
    """Shorten names of modules to their first two parts, or as many as tell them apart."""
    depth = 2
    while len({tuple(name.split(".")[:depth]) for name in names}) < len(set(names)):
        depth += 1
    return [".".join(name.split(".")[:depth]) for name in names]
