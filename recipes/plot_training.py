"""How a training went."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import PercentFormatter

from skviz.plot import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

__all__ = ["training"]

NAMES = {"loss": "loss", "accuracy": "accuracy", "learning_rate": "learning\nrate"}


@style.drawing
def training(ds: xr.Dataset) -> Figure:
    """Draw the log of a training: loss, accuracy and learning rate over the steps.

    Parameters
    ----------
    ds
        From `recipes.train.log`.

    Returns
    -------
    Figure
        Of column width, three panels that share their steps.
    """
    made = style.figure("column", 2.9)
    axes = made.subplots(3, sharex=True, height_ratios=(2, 2, 1))
    for ax, (name, words) in zip(axes, NAMES.items(), strict=True):
        colour = "0.4" if name == "learning_rate" else style.COLOURS[0]
        ax.plot(ds["step"], ds[name], color=colour, marker="." if ds.sizes["step"] < 40 else "")
        ax.set_ylabel(words)
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[2].set_ylim(0, 1.1 * float(ds["learning_rate"].max()))
    axes[2].set_xlabel("step")
    made.align_ylabels(axes)
    return style.describe(
        made,
        "Loss, accuracy and learning rate of a training. Loss and accuracy are those of the "
        "training images, each a mean over the steps since the point before.",
        training=ds,
    )
