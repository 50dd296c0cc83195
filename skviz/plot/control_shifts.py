"""A claim about object scale beside everything else that might explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skviz import stats
from skviz.plot import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["control_shifts"]


@style.drawing
def control_shifts(ds: xr.Dataset) -> Figure:
    """Draw the shift of every unit under the claim and under its controls.

    Parameters
    ----------
    ds
        From `skviz.controls`, of at least two images.

    Returns
    -------
    Figure
        Of text width, one panel per unit with shared axes: mean shift of the attention difference
        and its 95 % interval over images. A hollow mark: the claim's own shift does not
        differ from that control's (paired, Holm-corrected over units, 5 %).
    """
    found = stats.compare(ds)
    units, names = found["unit"].values, [str(name) for name in found["control"].values]
    made = style.figure("text", 0.75 + 0.165 * len(names) * -(-len(units) // 6))
    columns = min(len(units), 6)
    axes = made.subplots(
        -(-len(units) // columns), columns, sharex=True, sharey=True, squeeze=False
    )
    places = np.arange(len(names))
    for ax, unit in zip(axes.flat, units, strict=False):
        here = found.sel(unit=unit)
        ax.axvspan(here["low"].item(0), here["high"].item(0), color=style.COLOURS[0], alpha=0.15,
                   lw=0)  # fmt: skip
        ax.axvline(0, color="0.6", linewidth=0.6, zorder=0)
        for place in places:
            colour = style.COLOURS[0] if place == 0 else style.COLOURS[1]
            apart = place == 0 or here["excess_p_holm"].item(place) < 0.05
            ax.hlines(place, here["low"].item(place), here["high"].item(place), color=colour)
            ax.plot(here["estimate"].item(place), place, "o", color=colour,
                    markerfacecolor=colour if apart else "white")  # fmt: skip
        ax.set_title(style.short(str(unit), 14))
        ax.set_ylim(len(names) - 0.5, -0.5)
    for ax in list(axes.flat)[len(units) :]:
        ax.axis("off")
    axes[0, 0].set_yticks(places, names)
    made.supxlabel("shift of the attention difference", fontsize=style.small())
    style.describe(
        made,
        "Shift of the attention difference from the smallest to the largest scale: the claim "
        "(object) and its controls. Mean and 95 % interval over scenes; hollow: not "
        "different from the claim (Wilcoxon, paired by scene, Holm-corrected over units, 5 %). "
        f"{style.sample(ds)}.",
        shifts=found,
    )
    return made
