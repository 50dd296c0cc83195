"""The four marks that figures are made of: each draws part of a table, and nothing else.

A table is a Dataset of `skviz.stats.interval` (``estimate``, ``low``, ``high``); of any other its
first variable is drawn. ``at`` chooses the part: the value of every dimension that is neither along
an axis nor that of the series. `style.describe` sees to it that a figure holds all that was drawn.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.image import AxesImage

from skviz.errors import SkvizError

Looks = Mapping[Any, dict[str, Any]]  # by value of the series


def part(ax: Axes, table: xr.Dataset, at: Mapping[str, Any]) -> xr.Dataset:
    """Return what is drawn of a table, and remember that it was."""
    axes: Any = ax
    axes.drawn = [*getattr(ax, "drawn", ()), table]
    return table.sel(at)


def measured(here: xr.Dataset) -> np.ndarray:
    """Return the numbers of a series, or raise `SkvizError` where one is missing."""
    values: np.ndarray = here[variable(here)].values
    if np.isnan(values).any():
        where = ", ".join(f"{k} {v.item()}" for k, v in here.coords.items() if not v.ndim)
        raise SkvizError(f"nothing was measured in part of {where or 'the data'}: NaN is no point")
    return values


def variable(table: xr.Dataset) -> str:
    """Return the name of what a table estimates."""
    return "estimate" if "estimate" in table else str(next(iter(table.data_vars)))


def places(coordinate: xr.DataArray) -> xr.DataArray:
    """Return where values lie along an axis: numbers as they are, names at 0, 1, …."""
    if coordinate.dtype.kind in "fiu":
        return coordinate
    return coordinate.copy(data=np.arange(coordinate.size))


def lines(
    ax: Axes,
    table: xr.Dataset,
    x: str,
    series: str,
    looks: Looks,
    *,
    band: float | None = 0.2,
    **at: Any,
) -> None:
    """Draw a line for every look, with its interval as a band, or as bars if `band` is None."""
    shown = part(ax, table, at)
    for value, look in looks.items():
        here = shown.sel({series: value})
        along = places(here[x]).values
        ax.plot(along, measured(here), **look)
        if "low" in here and band is None:
            ax.vlines(along, here["low"], here["high"], color=look["color"], linewidth=0.7)
        elif "low" in here:
            ends = here["low"], here["high"]
            ax.fill_between(along, *ends, color=look["color"], alpha=band, lw=0)


def points(
    ax: Axes,
    table: xr.Dataset,
    y: str,
    series: str,
    looks: Looks,
    *,
    variants: tuple[str, Looks] = ("", {}),
    **at: Any,
) -> None:
    """Draw a mark with its interval for every name along y, series beside each other.

    The first name is at the top. With ``series=y`` every name has a look of its own. `variants`
    says which variable changes the look of a mark, and how for some of its values.
    """
    shown = part(ax, table, at)
    down = places(shown[y])
    for index, (value, look) in enumerate(looks.items()):
        here = shown.sel({series: value})
        dodge = 0 if series == y else (index - (len(looks) - 1) / 2) * 0.7 / len(looks)
        rows = np.atleast_1d(down.sel({y: here[y]}).values) + dodge
        mean, low, high = (
            np.atleast_1d(v) for v in (measured(here), here["low"].values, here["high"].values)
        )
        said = np.atleast_1d(here[variants[0]].values if variants[0] else np.full(len(rows), ""))
        ax.hlines(rows, low, high, color=look["color"])
        for kind in np.unique(said):
            own = look | {"linestyle": ""} | variants[1].get(str(kind), {})
            ax.plot(mean[said == kind], rows[said == kind], **own)
    labels = [str(name) for name in shown[y].values]
    ax.set_yticks(down.values, labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)


def tiles(
    ax: Axes,
    table: xr.Dataset,
    rows: str,
    columns: str,
    *,
    norm: Normalize,
    cmap: str = "PuOr_r",
    **at: Any,
) -> AxesImage:
    """Draw a map: rows from the top, columns from the left; what is NaN stays blank."""
    shown = part(ax, table, at)
    values = shown[variable(table)].transpose(rows, columns).values
    return ax.imshow(values, cmap=cmap, norm=norm, aspect="auto", interpolation="nearest")


def pictures(axes: Iterable[Axes], images: Iterable[Any], **look: Any) -> None:
    """Show pictures (y, x[, rgb]) without ticks, in a thin frame."""
    for ax, image in zip(axes, images, strict=True):
        ax.imshow(image, **look)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, linewidth=0.4, color="0.6")


def centred(reach: float) -> TwoSlopeNorm:
    """Return colours that are white at 0 and darkest at ± `reach`."""
    return TwoSlopeNorm(0, -reach, reach)
