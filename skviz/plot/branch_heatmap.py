"""Weight of every branch, unit by scale."""

import numpy as np
import xarray as xr
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import style

__all__ = ["branch_heatmap"]


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
    offset = weight - 1 / counts
    reach = float(np.nanmax(np.abs(offset.values))) or 1e-6
    branches = root.sizes["branch"]
    with style.context():
        made = style.figure(style.COLUMN, 1.1 + 0.17 * root.sizes["unit"])
        axes = np.atleast_1d(made.subplots(1, branches, sharey=True))
        scales = root["scale"].values
        for branch, ax in enumerate(axes):
            image = ax.imshow(
                offset.isel(branch=branch).transpose("unit", "scale").values,
                cmap="PuOr_r",
                norm=TwoSlopeNorm(0, -reach, reach),
                aspect="auto",
            )
            kernels = np.unique(root["kernel"].isel(branch=branch).dropna("unit").values)
            ax.set_title(style.branch_label(branch, kernels[0] if len(kernels) == 1 else np.nan))
            shown = range(0, len(scales), 1 + len(scales) // 5)
            ax.set_xticks(list(shown), [f"{scales[i]:g}" for i in shown])
            ax.set_xlabel("scale")
            ax.tick_params(length=2)
        axes[0].set_yticks(range(root.sizes["unit"]), [str(u) for u in root["unit"].values])
        bar = made.colorbar(image, ax=list(axes), pad=0.02, aspect=12)
        bar.set_label("weight − 1/M")
        bar.outline.set_linewidth(0.6)
        return made
