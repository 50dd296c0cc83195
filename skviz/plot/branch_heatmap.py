"""Weight of every branch, unit by scale."""

import numpy as np
import xarray as xr
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import style

__all__ = ["branch_heatmap"]


@style.drawing
def branch_heatmap(ds: xr.DataTree) -> Figure:
    """Draw the mean weight of every branch as a map of unit (first at the top) by scale.

    Parameters
    ----------
    ds
        A sweep.

    Returns
    -------
    Figure
        Of column width. All maps share one colour scale, centred where a branch weighs as much as
        the others, 1 / M; a branch that a unit does not have stays blank.
    """
    root = stats.root(ds)
    weight = root["weight"].mean("image", skipna=False)  # (scale, unit, branch)
    counts = root["kernel"].notnull().sum("branch")  # (unit,) branches of each unit
    counts = counts.where(counts > 0, weight.notnull().any("scale").sum("branch"))
    offset = weight - 1 / counts
    reach = float(np.nanmax(np.abs(offset.values))) or 1e-6
    branches, scales = root.sizes["branch"], root["scale"].values
    narrow = style.inches("column") < 1.3 * branches
    made = style.figure("column", 1.1 + 0.45 * narrow + 0.17 * root.sizes["unit"])
    axes = np.atleast_1d(made.subplots(1, branches, sharey=True))
    for branch, ax in enumerate(axes):
        image = ax.imshow(
            offset.isel(branch=branch).transpose("unit", "scale").values,
            cmap="PuOr_r",
            norm=TwoSlopeNorm(0, -reach, reach),
            aspect="auto",
        )
        kernels = np.unique(root["kernel"].isel(branch=branch).dropna("unit").values)
        ax.set_title(style.branch_label(branch, kernels[0] if len(kernels) == 1 else np.nan))
        style.scale_ticks(ax, scales, branches)
        ax.tick_params(length=2)
    axes[0].set_yticks(
        range(root.sizes["unit"]), [style.short(str(u)) for u in root["unit"].values]
    )
    where = {"location": "bottom", "aspect": 30} if narrow else {"pad": 0.02, "aspect": 12}
    bar = made.colorbar(image, ax=list(axes), **where)
    bar.set_label("weight − 1/M")
    bar.outline.set_linewidth(0.6)
    style.describe(
        made,
        "Mean weight of every branch, relative to the 1/M of equal weights, by SK unit (first at "
        f"the top) and scale of the object; {style.sample(ds)}.",
        weight=weight.rename("weight").to_dataset(),
    )
    return made
