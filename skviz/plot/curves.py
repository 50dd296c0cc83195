"""The attention difference and the expected kernel over scale, depth and classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import MaxNLocator

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import drawable, labels, marks, style

THUMBNAIL = 0.34  # inches


@style.drawing
def scale_response(ds: xr.Dataset, *, example: int = 0, ax: Axes | None = None) -> Figure:
    """Draw the attention difference of every unit against scale.

    Parameters
    ----------
    ds
        A sweep over at least two scales.
    example
        Which of the kept scenes is shown under the axis.
    ax
        Draw into these axes, without thumbnails; by default a new figure of column width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Bands are 95 % intervals over images, which fewer
        than five do not have.

    Raises
    ------
    SkvizError
        If there is one scale only.
    """
    if ds.sizes["scale"] < 2:
        raise SkvizError("a response needs at least two scales; sweep over more")
    found = stats.estimate(stats.attention_difference(ds))
    units = ds.sizes["unit"]
    made = style.figure("column", 2.5 + 0.045 * min(units, style.MANY))
    if ax is not None:
        _responses(ax, found)
        return made
    top, bottom = made.subplots(2, 1, sharex=True, height_ratios=(1, 0.2))
    _responses(top, found)
    top.tick_params(labelbottom=False)
    top.set_xlabel("")
    _thumbnails(ds, example, bottom)
    labels.legend_of_units(made, top)
    return style.describe(
        made,
        "Attention difference (mean weight of the largest kernel minus that of the smallest) of "
        f"each SK unit against the scale of the object: {found.attrs['method']}, "
        f"{labels.sample(ds)}. Below: one of the scenes.",
        response=found,
    )


def _responses(ax: Axes, found: xr.Dataset) -> None:
    looks = style.looks(found["unit"].values, labels.units(found["unit"].values).__getitem__)
    if len(looks) > style.MANY:
        looks = {unit: look | {"marker": ""} for unit, look in looks.items()}
    marks.lines(ax, found, "scale", "unit", looks, band=0.2 if len(looks) <= style.MANY else 0.08)
    labels.zero_line(ax)
    labels.scale_axis(ax, found["scale"].values.tolist(), _most())
    ax.set_ylabel("attention difference")


def _thumbnails(ds: xr.Dataset, example: int, ax: Axes) -> None:
    pictures, _ = drawable.example(ds, example)
    for scale in drawable.apart(ds["scale"].values.tolist(), _most()):
        picture = pictures.sel(scale=scale).values  # (y, x, rgb)
        image = OffsetImage(picture, zoom=THUMBNAIL * 72 / picture.shape[0], dpi_cor=True)
        ax.add_artist(AnnotationBbox(image, (scale, 0.5), frameon=False, pad=0))
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("scale (object's side ÷ reference)")


def _most() -> int:
    """How many thumbnails and tick labels fit beside each other."""
    return int((style.inches("column") - 0.7) / (THUMBNAIL + 0.02))


@style.drawing
def expected_kernel(
    ds: xr.Dataset, *, scales: Sequence[float] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw Σ weight · kernel of every unit, first to last, one line per scale.

    Parameters
    ----------
    ds
        A sweep.
    scales
        Which scales; by default three from the smallest to the largest.
    ax
        Draw into these axes; by default a new figure of column width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Bars are 95 % intervals over images; a grey line
        is what equal weights would give.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale, or a unit's kernels are unknown.
    """
    chosen = list(scales or drawable.spread(ds["scale"].values.tolist(), 3))
    drawable.held(ds, scale=chosen)
    found = stats.estimate(stats.expected_kernel(ds).sel(scale=chosen))
    found = found.assign(equal=ds["kernel"].mean("branch"))
    made = style.figure("column", 2.3 + 0.03 * max(0, min(ds.sizes["unit"], style.MANY) - 6))
    ax = ax or made.subplots()
    at = np.arange(ds.sizes["unit"])
    ax.hlines(found["equal"], at - 0.4, at + 0.4, color="0.6", linewidth=0.8)
    marks.lines(ax, found, "unit", "scale", style.looks(chosen, labels.scale), band=None)
    labels.units_below(ax, ds["unit"].values)
    ax.set_ylabel("expected kernel")
    labels.legend(made, ax)
    return style.describe(
        made,
        "Expected kernel Σ weight · kernel of each SK unit, first to last, by scale of the object: "
        f"{found.attrs['method']}, {labels.sample(ds)}. Grey: equal weights.",
        expected_kernel=found,
    )


@style.drawing
def class_curves(
    ds: xr.Dataset,
    *,
    scales: Sequence[float] = (1.0, 1.5),
    units: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw each class's mean attention difference at two scales, for units spread over the depth.

    This is figure 4 of the paper.

    Parameters
    ----------
    ds
        A sweep that holds these scales.
    scales
        Two (or so) scales of the sweep.
    units
        By default the first, the middle and the last unit.
    ax
        Draw one unit into these axes; by default a new figure of column width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Classes are in the order of the sweep, named where all
        names fit.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale or a unit, or a unit's kernels are unknown.
    """
    chosen = drawable.chosen(ds, units, ax)
    drawable.held(ds, scale=scales)
    order = list(dict.fromkeys(ds["category"].values.tolist()))
    difference = stats.attention_difference(ds).sel(unit=chosen, scale=list(scales))
    mean = difference.groupby("category").mean("image").sel(category=order)
    table = mean.to_dataset(name="attention_difference")
    count = len(order)
    made = style.figure("column", 0.6 + 0.85 * len(chosen))
    axes = [ax] if ax else made.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    few = 250 / count  # less ink where there are many classes
    ink: dict[str, Any] = {"linewidth": min(0.9, 0.3 + few / 8), "markersize": min(2.0, few)}
    looks = {key: look | ink for key, look in style.looks(scales, labels.scale).items()}
    names = labels.units(ds["unit"].values)
    for unit, each in zip(chosen, axes, strict=True):
        marks.lines(each, table, "category", "scale", looks, unit=unit)
        each.set_title(f"{names[unit]}{_gains(mean.sel(unit=unit), scales)}",
                       fontsize=style.small(), loc="left", pad=3)  # fmt: skip
        labels.zero_line(each)
        each.yaxis.set_major_locator(MaxNLocator(4))
        each.margins(x=0.01)
    if labels.below(axes[-1], order):
        axes[-1].set_xlabel("")
    else:
        axes[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
        axes[-1].xaxis.set_major_formatter(lambda place, _: f"{place + 1:.0f}")
        axes[-1].set_xlabel("class")
    if ax is None:
        made.supylabel("attention difference")
    else:
        ax.set_ylabel("attention difference")
    labels.legend(made, axes[0])
    return style.describe(
        made,
        f"Attention difference (largest minus smallest kernel) of each of {count} classes at "
        f"{len(scales)} scales of the object, in {len(chosen)} SK units spread over the depth. "
        f"Mean over the scenes of a class; {labels.sample(ds)}.",
        attention_difference=table,
    )


def _gains(mean: xr.DataArray, scales: Sequence[float]) -> str:
    """Say in how many classes the difference grows from the first of some scales to the last."""
    if len(scales) < 2:
        return ""
    grown = int((mean.sel(scale=scales[-1]) > mean.sel(scale=scales[0])).sum())
    return f": grows from {scales[0]:g} to {scales[-1]:g} in {grown} of {mean.sizes['category']}"
