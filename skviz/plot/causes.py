"""What moves the weights: main effects of an experiment, and what pictures explain without one."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from skviz.errors import SkvizError
from skviz.plot import labels, marks, style
from skviz.stats.factors import EFFECTS

LIGHT = 0.55  # of the reach of the colours: text on what is darker is white


@style.drawing
def main_effects(found: xr.Dataset) -> Figure:
    """Draw how far each factor moves the weights of every unit, the others held.

    Parameters
    ----------
    found
        From `skviz.stats.main_effects`. Networks have a look of their own; with a coordinate
        ``group`` along ``network`` those of a group share one.

    Returns
    -------
    Figure
        Of text width, one panel per factor with shared axes: the change of the attention difference
        (of size, coverage, blur and background per doubling) and its 95 % interval, a mark for
        every network beside the others of its unit.
    """
    networks = [str(name) for name in found["network"].values]
    groups = [str(name) for name in found.coords.get("group", found["network"]).values]
    shared = style.looks(dict.fromkeys(groups))
    looks = {
        name: shared[group] | {"markersize": 2.4, "label": "_" if group in groups[:i] else group}
        for i, (name, group) in enumerate(zip(networks, groups, strict=True))
    }
    terms = [str(term) for term in found["term"].values if term in EFFECTS]
    names = labels.units(found["unit"].values, 14)
    row = max(0.16, 0.055 * len(networks))
    made = style.figure("text", 0.85 + row * len(names))
    axes = made.subplots(1, len(terms), sharex=True, sharey=True, squeeze=False)[0]
    table = found[["estimate", "low", "high"]]
    for ax, term in zip(axes, terms, strict=True):
        labels.zero_line(ax, upright=True)
        marks.points(ax, table, "unit", "network", looks, term=term)
        ax.set_title(f"{term} × 2" if EFFECTS[term] else term)
    labels.units_left(axes[0], list(names.values()), 0.85)
    made.supxlabel("change of the attention difference", fontsize=style.small())
    if len(networks) > 1:
        labels.legend(made, axes[0])
    return style.describe(
        made,
        "Main effects of a factorial experiment on the attention difference of each unit: the "
        "change when one factor doubles (position: from its place to a random one) and the others "
        f"are held; {found.attrs['method']}, {found.attrs['images']} images.",
        effects=table,
    )


@style.drawing
def explained(found: xr.Dataset, *, ax: Axes | None = None) -> Figure:
    """Draw how much of the differences between pictures their properties explain.

    Parameters
    ----------
    found
        From `skviz.stats.explained`, (predictor, unit).
    ax
        Draw into these axes; by default a new figure of text width.

    Returns
    -------
    Figure
        The one made, or that of the axes: cross-validated R² of each property alone and of all
        together, as colours from 0 to 1, with their numbers where these fit; what is below 0
        predicts worse than the mean does, and what is below −1 is not told apart.

    Raises
    ------
    SkvizError
        If there is more than predictors and units, such as several channels.
    """
    if set(found["estimate"].dims) != {"predictor", "unit"}:
        got = tuple(found["estimate"].dims)
        raise SkvizError(f"expected (predictor, unit), got {got}; choose one of the rest")
    names = labels.units(found["unit"].values, 14)
    predictors = [str(name) for name in found["predictor"].values]
    made = style.figure("text", 0.7 + 0.2 * len(predictors))
    ax = ax or made.subplots()
    table = found[["estimate"]]
    image = marks.tiles(
        ax, table, "predictor", "unit", norm=Normalize(0, 1, clip=True), cmap="Blues"
    )
    values = found["estimate"].transpose("predictor", "unit").values
    room = style.inches("text") - style.wide(30)  # beside names of properties and the bar
    texts = np.vectorize(_said)(values)
    fit = room / len(names) > 1.1 * style.wide(max(map(len, texts.flat)))
    for (row, column), value in np.ndenumerate(values) if fit else ():
        colour = "white" if value > LIGHT else "black"
        ax.text(column, row, texts[row, column], color=colour, ha="center", va="center",
                fontsize=style.small())  # fmt: skip
    ax.set_yticks(range(len(predictors)), predictors)
    labels.units_below(ax, list(names), room, 14)
    made.colorbar(image, ax=ax, label="R²")
    return style.describe(
        made,
        "Share of the variance of the attention difference between pictures that is explained by "
        "measured properties (each with its square) and the category: cross-validated R², ten "
        f"folds, over {found.attrs['images']} pictures.",
        explained=table,
    )


def _said(value: float) -> str:
    """Write R² with two digits, and what is far below 0 as that."""
    return "< −1" if value < -1 else f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
