"""Whether attributions hold what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skviz import stats
from skviz.plot import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["faithfulness"]


@style.drawing
def faithfulness(ds: xr.Dataset) -> Figure:
    """Draw deletion and insertion curves, and how maps change as layers are randomised.

    Parameters
    ----------
    ds
        From `skviz.faithfulness`, of at least two images.

    Returns
    -------
    Figure
        Of text width, a row per target. Means over images with 95 % intervals; dashed:
        pixels in random order.
    """
    targets = [str(name) for name in ds["target"].values]
    columns = 2 + ("rank_correlation" in ds)
    made = style.figure("text", 0.4 + 1.45 * len(targets))
    axes = made.subplots(len(targets), columns, squeeze=False, sharex="col")
    curves = {name: stats.estimate(ds[name]) for name in ("deletion", "insertion")}
    tables = dict(curves)
    for row, target in zip(axes, targets, strict=True):
        for ax, found in zip(row, curves.values(), strict=False):
            for order, look in zip(ds["order"].values, style.series(2), strict=True):
                here = found.sel(target=target, order=order)
                ax.plot(here["fraction"], here["estimate"], label=str(order),
                        **look | {"marker": ""})  # fmt: skip
                ax.fill_between(here["fraction"], here["low"], here["high"], color=look["color"],
                                alpha=0.2, lw=0)  # fmt: skip
        row[0].set_ylabel("\n".join(style.short(word, 18) for word in target.split()))
    for column, name in enumerate(curves):
        axes[0, column].set_title(name)
        axes[-1, column].set_xlabel("fraction of pixels")
    if columns == 3:
        tables["rank_correlation"] = found = stats.estimate(ds["rank_correlation"])
        _randomised(found, targets, list(axes[:, 2]))
    axes[0, 0].legend()
    style.describe(
        made,
        f"Tests of the attributions ({ds.attrs['method']}): value of the target as pixels are "
        "deleted or inserted in the order of attribution or at random, and rank correlation of "
        "the map with that of the network whose layers from the named one on are random. Means "
        f"and 95 % intervals over {ds.sizes['image']} images.",
        **tables,
    )
    return made


def _beginnings(names: list[str]) -> list[str]:
    """Shorten names of modules to their first two parts, or as many as tell them apart."""
    depth = 2
    while len({tuple(name.split(".")[:depth]) for name in names}) < len(set(names)):
        depth += 1
    return [".".join(name.split(".")[:depth]) for name in names]


def _randomised(found: xr.Dataset, targets: list[str], axes: list[Axes]) -> None:
    """Draw the correlation of maps with those of ever more random networks."""
    names = _beginnings([str(name) for name in found["randomised"].values])
    places = np.arange(1, len(names) + 1)
    for ax, target in zip(axes, targets, strict=True):
        here = found.sel(target=target)
        ax.plot([0, *places], [1, *here["estimate"].values], "-o", color=style.COLOURS[2])
        ax.vlines(places, here["low"], here["high"], color=style.COLOURS[2])
        style.zero_line(ax)
        ax.set(ylim=(-0.3, 1.05))
    axes[0].set_title("rank correlation")
    axes[-1].set_xticks(
        [0, *places], ["trained", *(style.short(name, 18) for name in names)],
        rotation=40, ha="right", rotation_mode="anchor",
    )  # fmt: skip
    axes[-1].set_xlabel("random from")
