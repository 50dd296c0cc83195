"""The paper's class curves (figure 4): attention difference of every class at two scales."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from skviz import stats
from skviz.plot import style

__all__ = ["class_curves"]


@style.drawing
def class_curves(
    ds: xr.DataTree,
    *,
    scales: Sequence[float] = (1.0, 1.5),
    units: Sequence[str] | None = None,
) -> Figure:
    """Draw each class's mean attention difference at two scales, for units spread over the depth.

    Parameters
    ----------
    ds
        A sweep that holds these scales.
    scales
        Two (or so) scales of the sweep.
    units
        By default the first, the middle and the last unit.

    Returns
    -------
    Figure
        Of column width. Classes are in the order of the sweep.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale or a unit, or a unit's kernels are unknown.
    """
    root = stats.root(ds)
    chosen = list(units or style.spread([str(u) for u in root["unit"].values], 3))
    style.held(root, scales, chosen)
    order = list(dict.fromkeys(root["category"].values.tolist()))
    difference = stats.attention_difference(ds).sel(unit=chosen, scale=list(scales))
    mean = difference.groupby("category").mean("image").sel(category=order)
    count = len(order)
    made = style.figure("column", 0.6 + 0.85 * len(chosen))
    axes = np.atleast_1d(made.subplots(len(chosen), 1, sharex=True))
    few = 250 / count  # less ink where there are many classes
    ink = {"linewidth": min(0.9, 0.3 + few / 8), "markersize": min(2.0, few)}
    for unit, ax in zip(chosen, axes, strict=True):
        here = mean.sel(unit=unit)
        for scale, look in zip(scales, style.series(len(scales)), strict=True):
            line = look | ink
            ax.plot(range(1, count + 1), here.sel(scale=scale), label=f"scale {scale:g}", **line)
        gain = here.sel(scale=scales[-1]) > here.sel(scale=scales[0])
        text = f"{style.short(unit)}: larger kernel gains in {int(gain.sum())} of {count}"
        ax.set_title(text, fontsize=style.small(), loc="left", pad=3)
        style.zero_line(ax)
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.margins(x=0.01)
    axes[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes[-1].set_xlabel("class")
    made.supylabel("attention difference", fontsize=axes[-1].xaxis.label.get_size())
    style.legend(made, axes[0])
    style.describe(
        made,
        f"Attention difference (largest minus smallest kernel) of each of {count} classes at "
        f"{len(scales)} scales of the object, in {len(chosen)} SK units spread over the depth. "
        f"Mean over the scenes of a class; {style.sample(ds)}.",
        attention_difference=mean,
    )
    return made
