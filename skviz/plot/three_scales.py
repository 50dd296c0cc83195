"""The paper's own figure (figure 3): one object at three scales, in one unit and in several."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skviz import stats
from skviz.plot import style

__all__ = ["three_scales"]

WIDE = 4.5  # inches: from here on the thumbnails stand beside the charts


@style.drawing
def three_scales(
    ds: xr.DataTree,
    *,
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    unit: str | None = None,
    units: Sequence[str] | None = None,
    example: int = 0,
) -> Figure:
    """Draw thumbnails, the larger kernel's weight per channel, and attention differences.

    Parameters
    ----------
    ds
        A sweep that holds these scales.
    scales
        Three (or so) scales of the sweep.
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
        95 % intervals.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale or a unit.
    """
    root = stats.root(ds)
    names = [str(name) for name in root["unit"].values]
    unit = unit or names[len(names) // 2]
    units = list(units or style.spread(names, 4))
    style.held(root, scales, (unit, *units))
    looks = style.series(len(scales))
    wide = style.inches("column") > WIDE
    made = style.figure("column", 2.7 if wide else 4.3)
    if wide:
        beside = 0.5 * len(scales) / 3
        grid = made.add_gridspec(len(scales), 2, width_ratios=(beside, 4 - beside))
        charts = grid[:, 1].subgridspec(2, 1)
        upper, lower = charts[0], charts[1]
    else:
        grid = made.add_gridspec(3, len(scales), height_ratios=(1.05, 1.1, 1.1))
        upper, lower = grid[1, :], grid[2, :]
    for index, (scale, look) in enumerate(zip(scales, looks, strict=True)):
        ax = made.add_subplot(grid[index, 0] if wide else grid[0, index])
        picture = root["thumbnail"].isel(example=example).sel(scale=scale).values
        _thumbnail(ax, picture, f"{scale:g}×", look["color"], beside=wide)

    profile = _profile(ds, made.add_subplot(upper), unit, scales, example)
    found = stats.estimate(stats.attention_difference(ds).sel(unit=units, scale=list(scales)))
    _bars(made.add_subplot(lower), found, root.sizes["image"])
    style.describe(
        made,
        f"One object at {len(scales)} scales; weight of the largest kernel in each channel of "
        f"{unit} for this scene; and attention difference (largest minus smallest kernel) of "
        f"{len(units)} SK units: {found.attrs['method']}, {style.sample(ds)}.",
        channels=profile,
        attention_difference=found,
    )
    return made


def _thumbnail(ax: Axes, picture: Any, text: str, colour: str, *, beside: bool) -> None:
    ax.imshow(picture)
    if beside:
        ax.set_ylabel(text, color=colour, rotation=0, ha="right", va="center", labelpad=3)
    else:
        ax.set_title(text, color=colour, pad=3)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=2)


def _profile(
    ds: xr.DataTree, ax: Axes, unit: str, scales: Sequence[float], example: int
) -> xr.DataArray:
    """Draw and return the largest kernel's weight in every channel, for one scene."""
    root = stats.root(ds)
    kernels = root["kernel"].sel(unit=unit)
    branch = int(kernels.fillna(-np.inf).argmax("branch"))
    profile = ds[unit].to_dataset()["weight"].isel(image=example, branch=branch)
    profile = profile.sel(scale=list(scales)).dropna("channel")
    for scale, look in zip(scales, style.series(len(scales)), strict=True):
        ax.plot(profile.sel(scale=scale).values, **look | {"marker": ""})
    title = f"{style.short(unit)}, {style.short(str(root['image'].values[example]))}"
    ax.set_title(title, fontsize=style.small(), loc="left", pad=3)
    ax.set_xlabel("channel")
    ax.set_ylabel(f"weight of {style.kernel_name(float(kernels[branch]))}")
    ax.margins(x=0.01)
    return profile


def _bars(ax: Axes, found: xr.Dataset, images: int) -> None:
    count, units = found.sizes["scale"], found["unit"].values
    width = 0.8 / count
    for index, look in enumerate(style.series(count)):
        here = found.isel(scale=index)
        at = np.arange(len(units)) + (index - (count - 1) / 2) * width
        below, above = here["estimate"] - here["low"], here["high"] - here["estimate"]
        ax.bar(at, here["estimate"], width, color=look["color"],
               label=f"{float(here['scale']):g}×", hatch=("", "///", "...")[index % 3],
               edgecolor="white", linewidth=0.4,
               yerr=np.stack([below, above]), error_kw={"elinewidth": 0.7})  # fmt: skip
    style.zero_line(ax)
    ax.set_xticks(range(len(units)), [style.short(str(name), 13) for name in units])
    ax.set_ylabel("attention\ndifference")
    ax.set_title(f"mean over {images} images", fontsize=style.small(), loc="left", pad=3)
    ax.legend(
        ncols=count,
        loc="lower right",
        bbox_to_anchor=(1, 0.98),  # beside the title, above any bar
        handlelength=1.2,
        columnspacing=0.8,
    )
