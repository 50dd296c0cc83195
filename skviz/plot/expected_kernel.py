"""Expected kernel through the depth of the network."""

from collections.abc import Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import style

__all__ = ["expected_kernel"]


@style.drawing
def expected_kernel(
    ds: xr.DataTree, *, scales: Sequence[float] | None = None, ax: Axes | None = None
) -> Figure | list[Axes]:
    """Draw Σ weight · kernel of every unit, first to last, one line per scale.

    Parameters
    ----------
    ds
        A sweep over at least two images.
    scales
        Which scales; by default three from the smallest to the largest.
    ax
        Draw into these axes; by default a new figure of column width.

    Returns
    -------
    Figure or list of Axes
        The figure made, or the axes drawn into. Bars are 95 % intervals over images; a
        grey line is what equal weights would give.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale, or a unit's kernels are unknown.
    """
    root = stats.root(ds)
    names = [str(name) for name in root["unit"].values]
    chosen = list(scales or style.spread(root["scale"].values.tolist(), 3))
    style.held(root, chosen, ())
    found = stats.estimate(stats.expected_kernel(ds).sel(scale=chosen))
    made = None if ax else style.figure("column", 2.3)
    ax = ax or made.subplots()  # type: ignore[union-attr]
    equal = root["kernel"].mean("branch").values
    at = range(len(names))
    ax.hlines(equal, [i - 0.4 for i in at], [i + 0.4 for i in at], color="0.6", linewidth=0.8)
    for scale, look in zip(chosen, style.series(len(chosen)), strict=True):
        here = found.sel(scale=scale)
        mean, low, high = (here[name].values for name in ("estimate", "low", "high"))
        ends = [mean - low, high - mean]
        ax.errorbar(at, mean, ends, label=f"scale {scale:g}", elinewidth=0.7, **look)
    style.name_units(ax, names)
    ax.set_ylabel("expected kernel")
    if made is None:
        return [ax]
    style.legend(made, ax)
    style.describe(
        made,
        "Expected kernel Σ weight · kernel of each SK unit, first to last, by scale of the object: "
        f"{found.attrs['method']}, {style.sample(ds)}. Grey: equal weights.",
        expected_kernel=found,
    )
    return made
