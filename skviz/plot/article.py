"""The paper's own figure (figure 3): one object at three scales, in one unit and in several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import drawable, labels, marks, style

PAPER = (1.0, 1.5, 2.0)  # scales of its figure 3
WIDE = 4.5  # inches: from here on the thumbnails stand beside the charts


@style.drawing
def three_scales(
    ds: xr.Dataset,
    *,
    scales: Sequence[float] | None = None,
    unit: str | None = None,
    units: Sequence[str] | None = None,
    example: int = 0,
) -> Figure:
    """Draw thumbnails, the larger kernel's weight per channel, and attention differences.

    Parameters
    ----------
    ds
        A sweep that holds these scales, and kept its channels.
    scales
        Three (or so) scales of the sweep; by default 1, 1.5 and 2, as in the paper, or if it lacks
        one of them the first, the middle and the last.
    unit
        Whose channels are shown; by default the middle unit.
    units
        Whose attention difference is shown; by default four units spread over the depth.
    example
        Which of the kept scenes is shown, and whose channels.

    Returns
    -------
    Figure
        Of column width. Channels are those of the example; bars are means over all images with
        95 % intervals, which fewer than five images do not have.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale or a unit.
    """
    names = [str(name) for name in ds["unit"].values]
    unit = unit or names[len(names) // 2]
    units = list(units or drawable.spread(names, 4))
    if scales is None:
        every = ds["scale"].values.tolist()
        thirds = sorted({every[0], every[len(every) // 2], every[-1]})
        scales = PAPER if set(PAPER) <= set(every) else thirds
    drawable.held(ds, scale=scales, unit=(unit, *units))
    pictures, image = drawable.example(ds, example)
    looks = style.looks(scales, "{:g}×".format)
    weight = labels.largest_kernel(ds, unit)
    profile = weight.isel(image=image).sel(scale=list(scales)).to_dataset()
    found = stats.estimate(stats.attention_difference(ds).sel(unit=units, scale=list(scales)))
    wide = style.inches("column") > WIDE
    made = style.figure("column", 2.7 if wide else 4.3)
    *thumbnails, upper, lower = _layout(made, len(scales), wide=wide)
    marks.pictures(thumbnails, pictures.sel(scale=list(scales)).transpose("scale", ...).values)
    for ax, look in zip(thumbnails, looks.values(), strict=True):
        _name(ax, look["label"], look["color"], beside=wide)
    quiet = {key: look | {"marker": ""} for key, look in looks.items()}
    marks.lines(upper, profile, "channel", "scale", quiet)
    scene = labels.short(str(ds["image"].values[image]))
    upper.set(xlabel="channel", ylabel=f"weight of {weight.attrs['branch']}")
    upper.margins(x=0.01)
    _bars(lower, found, looks)
    for ax, title in (
        (upper, f"{labels.units(names)[unit]}, {scene}"),
        (lower, f"mean over {ds.sizes['image']} images"),
    ):
        ax.set_title(title, fontsize=style.small(), loc="left", pad=3)
    return style.describe(
        made,
        f"One object at {len(scales)} scales; weight of the largest kernel in each channel of "
        f"{style.called(unit)} for this scene; and attention difference (largest minus smallest "
        f"kernel) of {len(units)} SK units: {found.attrs['method']}, {labels.sample(ds)}.",
        channels=profile,
        attention_difference=found,
    )


def _layout(made: Figure, count: int, *, wide: bool) -> list[Axes]:
    """Make axes for so many thumbnails and, below or beside them, for two charts."""
    if wide:
        beside = 0.5 * count / 3
        grid = made.add_gridspec(count, 2, width_ratios=(beside, 4 - beside))
        charts = grid[:, 1].subgridspec(2, 1)
        cells = [*(grid[index, 0] for index in range(count)), charts[0], charts[1]]
    else:
        grid = made.add_gridspec(3, count, height_ratios=(1.05, 1.1, 1.1))
        cells = [*(grid[0, index] for index in range(count)), grid[1, :], grid[2, :]]
    return [made.add_subplot(cell) for cell in cells]


def _name(ax: Axes, text: str, colour: str, *, beside: bool) -> None:
    """Name a thumbnail's scale in the colour that it has in the charts."""
    if beside:
        ax.set_ylabel(text, color=colour, rotation=0, ha="right", va="center", labelpad=3)
    else:
        ax.set_title(text, color=colour, pad=3)
    ax.spines[:].set(color=colour, linewidth=2)


def _bars(ax: Axes, found: xr.Dataset, looks: dict[float, dict[str, Any]]) -> None:
    """Draw the mean of every unit at every scale as a bar, with its interval."""
    shown, width = marks.part(ax, found, {}), 0.8 / len(looks)
    units = shown["unit"].values
    for index, (scale, look) in enumerate(looks.items()):
        here = shown.sel(scale=scale)
        at = np.arange(len(units)) + (index - (len(looks) - 1) / 2) * width
        ax.bar(at, here["estimate"], width, color=look["color"], label=look["label"],
               hatch=("", "///", "...")[index % 3], edgecolor="white", linewidth=0.4)  # fmt: skip
        ax.vlines(at, here["low"], here["high"], color="black", linewidth=0.7)
    labels.zero_line(ax)
    ax.set_xticks(range(len(units)), labels.units(units, 13).values())
    ax.set_ylabel("attention\ndifference")
    ax.legend(
        ncols=len(looks),
        loc="lower right",
        bbox_to_anchor=(1, 0.98),  # beside the title, above any bar
        handlelength=1.2,
        columnspacing=0.8,
    )
