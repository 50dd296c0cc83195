"""The paper's own figure (figure 3): one object at three scales, in one unit and in several."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import style

__all__ = ["three_scales"]


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
        95 % bootstrap intervals.

    Raises
    ------
    SkvizError
        If the sweep lacks a scale or a unit.
    """
    root = stats.root(ds)
    names = [str(name) for name in root["unit"].values]
    unit = unit or names[len(names) // 2]
    units = list(units or spread(names, 4))
    missing = [f"scale {s:g}" for s in scales if s not in root["scale"].values]
    missing += [f"unit {name!r}" for name in (unit, *units) if name not in names]
    if missing:
        raise SkvizError(
            f"the sweep holds no {', '.join(missing)}; its scales are "
            f"{root['scale'].values.tolist()}, its units {names}"
        )
    looks = style.series(len(scales))
    with style.context():
        made = style.figure(style.COLUMN, 4.3)
        grid = made.add_gridspec(3, len(scales), height_ratios=(1.05, 1.1, 1.1))
        for column, (scale, look) in enumerate(zip(scales, looks, strict=True)):
            ax = made.add_subplot(grid[0, column])
            ax.imshow(root["thumbnail"].isel(example=example).sel(scale=scale).values)
            ax.set_title(f"{scale:g}×", color=look["color"], pad=3)
            ax.set_xticks([])
            ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set(visible=True, color=look["color"], linewidth=2)

        ax = made.add_subplot(grid[1, :])
        kernels = root["kernel"].sel(unit=unit)
        branch = int(kernels.fillna(-np.inf).argmax("branch"))
        profile = ds[unit].to_dataset()["weight"].isel(image=example, branch=branch)
        for scale, look in zip(scales, looks, strict=True):
            values = profile.sel(scale=scale).dropna("channel").values
            ax.plot(values, label=f"{scale:g}×", **look | {"marker": ""})
        kernel = int(kernels[branch])
        ax.set_title(f"{unit}, {root['image'].values[example]}", fontsize=7, loc="left", pad=3)
        ax.set_xlabel("channel")
        ax.set_ylabel(f"weight of {kernel}×{kernel}")
        ax.margins(x=0.01)

        ax = made.add_subplot(grid[2, :])
        chosen = stats.attention_difference(ds).sel(unit=units, scale=list(scales))
        found = stats.interval(chosen)
        width = 0.8 / len(scales)
        for index, (scale, look) in enumerate(zip(scales, looks, strict=True)):
            here = found.sel(scale=scale)
            at = np.arange(len(units)) + (index - (len(scales) - 1) / 2) * width
            below, above = here["estimate"] - here["low"], here["high"] - here["estimate"]
            ax.bar(at, here["estimate"], width, color=look["color"], label=f"{scale:g}×",
                   hatch=("", "///", "...")[index % 3], edgecolor="white", linewidth=0.4,
                   yerr=np.stack([below, above]), error_kw={"elinewidth": 0.7})  # fmt: skip
        style.zero_line(ax)
        ax.set_xticks(range(len(units)), units)
        ax.set_ylabel("attention difference")
        ax.set_title(f"mean over {root.sizes['image']} images", fontsize=7, loc="left", pad=3)
        ax.legend(
            ncols=len(scales),
            loc="lower right",
            bbox_to_anchor=(1, 0.98),  # beside the title, above any bar
            handlelength=1.2,
            columnspacing=0.8,
        )
        return made


def spread(names: Sequence[str], count: int) -> list[str]:
    """Choose names evenly from first to last."""
    at = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[i] for i in at]
