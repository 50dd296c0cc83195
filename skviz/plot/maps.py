"""Maps of weights by unit, channel and scale, and of what branches do to a pixel."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor, nn

from skviz.models.nn import SKAttention, SKConv
from skviz.plot import drawable, labels, marks, style
from skviz.plot.diagram import effective_kernel, kernel_label


@style.drawing
def branch_heatmap(ds: xr.Dataset) -> Figure:
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
    weight = ds["weight"].mean("image", skipna=False)  # (scale, unit, branch)
    equal = 1 / weight.notnull().any("scale").sum("branch")  # (unit,)
    table = xr.Dataset({"offset": weight - equal, "weight": weight})
    branches, names = ds.sizes["branch"], labels.units(ds["unit"].values)
    narrow = style.inches("column") < 1.3 * branches
    made = style.figure("column", 1.1 + 0.45 * narrow + 0.17 * min(len(names), 20))
    axes = made.subplots(1, branches, sharey=True, squeeze=False)[0]
    norm = marks.centred(float(np.nanmax(np.abs(table["offset"]))) or 1e-6)
    for branch, (name, ax) in enumerate(zip(labels.branches(ds["kernel"]), axes, strict=True)):
        image = marks.tiles(ax, table, "unit", "scale", norm=norm, branch=branch)
        ax.set_title(name)
        labels.scale_columns(ax, ds["scale"].values, branches)
    labels.units_left(axes[0], list(names.values()), 1.1 + 0.45 * narrow)
    where = {"location": "bottom", "aspect": 30} if narrow else {"pad": 0.02, "aspect": 12}
    made.colorbar(image, ax=axes, label="weight − 1/M", **where)
    return style.describe(
        made,
        "Mean weight of every branch, relative to the 1/M of equal weights, by SK unit (first at "
        f"the top) and scale of the object; {labels.sample(ds)}.",
        weight=table,
    )


@style.drawing
def channel_raster(
    ds: xr.Dataset, *, units: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the largest kernel's weight as a map of channel by scale, one for each of some units.

    Parameters
    ----------
    ds
        A sweep that kept its channels.
    units
        By default the first, the middle and the last unit.
    ax
        Draw one unit into these axes; by default a new figure of column width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Means over images, relative to the 1 / M of equal
        weights; channels are sorted by their mean weight. All maps share one colour scale.

    Raises
    ------
    SkvizError
        If the sweep lacks a unit, or none of a unit's kernels is the largest.
    """
    chosen = drawable.chosen(ds, units, ax)
    tables = {unit: _sorted_channels(ds, unit) for unit in chosen}
    made = style.figure("column", 2.5)
    axes = [ax] if ax else made.subplots(1, len(chosen), squeeze=False)[0]
    norm = marks.centred(max(1 - table.attrs["equal"] for table in tables.values()))
    names = labels.units(ds["unit"].values, 13 if len(chosen) > 2 else 24)
    for (unit, table), ax in zip(tables.items(), axes, strict=True):
        image = marks.tiles(ax, table, "channel", "scale", norm=norm)
        ax.set_title(f"{names[unit]}\n{table.attrs['branch']}", fontsize=style.small())
        labels.scale_columns(ax, ds["scale"].values, len(chosen))
        ax.set_yticks([0, table.sizes["channel"] - 1], ["1", str(table.sizes["channel"])])
    axes[0].set_ylabel("channel (sorted)", labelpad=-4)
    made.colorbar(image, ax=axes, label="largest kernel's weight − 1/M", pad=0.02, aspect=20)
    return style.describe(
        made,
        "Weight of the largest kernel in every channel (rows, sorted by their mean) relative to "
        f"the 1/M of equal weights, against the scale of the object, in {len(chosen)} SK units. "
        f"Mean over images, {labels.sample(ds)}.",
        **tables,
    )


def _sorted_channels(ds: xr.Dataset, unit: str) -> xr.Dataset:
    """Return what the raster of a unit shows: (channel, scale), largest weights first."""
    mean = labels.largest_kernel(ds, unit).mean("image", keep_attrs=True)
    order = mean.mean("scale").argsort().values[::-1]
    mean = mean.isel(channel=order)
    return xr.Dataset({"offset": mean - mean.attrs["equal"], "weight": mean}, attrs=mean.attrs)


@style.drawing
def impulse_response(unit: SKConv | SKAttention) -> Figure:
    """Draw which outputs of each branch's convolution one input pixel reaches.

    The convolutions run with their own weights, but without bias and at stride 1, on a map that is
    zero but for its middle pixel, which is 1 in every channel.

    Returns
    -------
    Figure
        One map per branch: mean absolute response over the output channels, relative to the
        branch's strongest.
    """
    convs: list[nn.Conv2d] = [branch.get_submodule("conv") for branch in unit.convs]  # type: ignore[misc]
    reach = max(map(effective_kernel, convs)) // 2 + 1
    seen = np.arange(-reach, reach + 1)
    responses = [_impulse(conv, 2 * reach + 1).cpu().numpy() for conv in convs]
    relative = np.stack([response / (response.max() or 1) for response in responses])
    table = xr.Dataset({"response": (("branch", "y", "x"), relative)}, {"y": seen, "x": seen})
    height = 0.86 * style.inches("text") / max(len(convs), 3) / style.enlarged()
    made = style.figure("text", height + 0.6)
    axes = made.subplots(1, len(convs), sharey=True, squeeze=False)[0]
    for branch, (ax, conv) in enumerate(zip(axes, convs, strict=True)):
        image = marks.tiles(ax, table, "y", "x", norm=Normalize(0, 1), cmap="Blues", branch=branch)
        image.set_extent((-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5))
        ax.set_aspect("equal")
        ax.set_title(kernel_label(conv).replace(" (", "\n("), fontsize=style.small())
        ax.xaxis.set_major_locator(MultipleLocator(2))
        ax.yaxis.set_major_locator(MultipleLocator(2))
    made.supxlabel("pixels from the impulse")
    made.colorbar(image, ax=axes, label="relative response", pad=0.02, aspect=12)
    return style.describe(
        made,
        "Mean absolute response of each branch's convolution to a single pixel that is 1 in every "
        "channel, relative to the branch's strongest.",
        response=table,
    )


def _impulse(conv: nn.Conv2d, side: int) -> Tensor:
    """Mean absolute response over channels, (side, side), to one pixel in the middle."""
    impulse = conv.weight.new_zeros((1, conv.in_channels, side, side))
    impulse[:, :, side // 2, side // 2] = 1
    with torch.no_grad():
        response = F.conv2d(
            impulse,
            conv.weight,
            padding=effective_kernel(conv) // 2,
            dilation=conv.dilation,
            groups=conv.groups,
        )  # (1, C, side, side)
    return response.abs().mean((0, 1))
