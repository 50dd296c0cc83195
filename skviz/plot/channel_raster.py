"""Weight of the largest kernel in every channel, against scale."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import style

__all__ = ["channel_raster"]


@style.drawing
def channel_raster(ds: xr.DataTree, *, units: Sequence[str] | None = None) -> Figure:
    """Draw the largest kernel's weight as a map of channel by scale, one for each of some units.

    Parameters
    ----------
    ds
        A sweep.
    units
        By default the first, the middle and the last unit.

    Returns
    -------
    Figure
        Of column width. Means over images; channels are sorted by their mean weight. Colours are
        centred on equal weights.

    Raises
    ------
    SkvizError
        If the sweep lacks a unit, or its kernels are unknown.
    """
    root = stats.root(ds)
    chosen = list(units or style.spread([str(u) for u in root["unit"].values], 3))
    style.held(root, (), chosen)
    kernels = stats.kernels(root).sel(unit=chosen)
    scales = root["scale"].values
    made = style.figure("column", 2.5)
    axes = np.atleast_1d(made.subplots(1, len(chosen)))
    tables = {}
    for unit, ax in zip(chosen, axes, strict=True):
        here = kernels.sel(unit=unit)
        branch, equal = int(here.fillna(-np.inf).argmax("branch")), 1 / int(here.notnull().sum())
        weight = ds[unit].to_dataset()["weight"].isel(branch=branch).mean("image")
        order = weight.mean("scale").argsort().values[::-1]
        tables[unit] = weight.isel(channel=order).transpose("channel", "scale")
        image = ax.imshow(
            tables[unit].values,
            cmap="PuOr_r",
            norm=TwoSlopeNorm(equal, 0, 1),
            aspect="auto",
            interpolation="nearest",
        )
        name = style.short(unit, 13 if len(chosen) > 2 else 24)
        ax.set_title(f"{name}\n{style.kernel_name(float(here[branch]))}", fontsize=style.small())
        style.scale_ticks(ax, scales, len(chosen))
        ax.set_yticks([0, len(order) - 1], ["1", str(len(order))])
        ax.tick_params(length=2)
    axes[0].set_ylabel("channel (sorted)", labelpad=-4)
    bar = made.colorbar(image, ax=list(axes), pad=0.02, aspect=20)
    bar.set_label("weight of the largest kernel")
    bar.outline.set_linewidth(0.6)
    style.describe(
        made,
        "Weight of the largest kernel in every channel (rows, sorted by their mean) "
        f"against the scale of the object, in {len(chosen)} SK units. Mean over images, "
        f"{style.sample(ds)}; white: equal weights.",
        **tables,
    )
    return made
