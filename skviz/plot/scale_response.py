"""Attention difference against scale, one line per unit."""

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import style

__all__ = ["scale_response"]

THUMBNAIL = 0.34  # inches


@style.drawing
def scale_response(
    ds: xr.DataTree, *, example: int = 0, ax: Axes | None = None
) -> Figure | list[Axes]:
    """Draw the attention difference of every unit against scale.

    Parameters
    ----------
    ds
        A sweep over at least two images and two scales.
    example
        Which of the kept scenes is shown under the axis.
    ax
        Draw into these axes, without thumbnails; by default a new figure of column width.

    Returns
    -------
    Figure or list of Axes
        The figure made, or the axes drawn into. Bands are 95 % intervals over images.

    Raises
    ------
    SkvizError
        If there is one scale or image only.
    """
    root = stats.root(ds)
    if root.sizes["scale"] < 2:
        raise SkvizError("a response needs at least two scales; sweep over more")
    found = stats.estimate(stats.attention_difference(ds))
    if ax is not None:
        return [_lines(found, ax)]
    made = style.figure("column", 2.5 + 0.045 * root.sizes["unit"])
    top, bottom = made.subplots(2, 1, sharex=True, height_ratios=(1, 0.2))
    _lines(found, top)
    top.tick_params(labelbottom=False)
    top.set_xlabel("")
    _thumbnails(root, example, bottom)
    style.legend(made, top)
    style.describe(
        made,
        "Attention difference (mean weight of the largest kernel minus that of the smallest) of "
        f"each SK unit against the scale of the object: {found.attrs['method']}, "
        f"{style.sample(ds)}. Below: one of the scenes.",
        response=found,
    )
    return made


def _lines(found: xr.Dataset, ax: Axes) -> Axes:
    scales = found["scale"].values
    for unit, look in zip(found["unit"].values, style.series(found.sizes["unit"]), strict=True):
        here = found.sel(unit=unit)
        ax.plot(scales, here["estimate"], label=style.short(str(unit)), **look)
        ax.fill_between(scales, here["low"], here["high"], color=look["color"], alpha=0.2, lw=0)
    style.zero_line(ax)
    shown = style.apart(scales.tolist(), _most())
    ax.set_xticks(shown, [f"{scale:g}" for scale in shown])
    ax.set_xlabel("scale")
    ax.set_ylabel("attention difference")
    return ax


def _thumbnails(root: xr.Dataset, example: int, ax: Axes) -> None:
    for scale in style.apart(root["scale"].values.tolist(), _most()):
        picture = root["thumbnail"].isel(example=example).sel(scale=scale).values  # (y, x, rgb)
        image = OffsetImage(picture, zoom=THUMBNAIL * 72 / picture.shape[0], dpi_cor=True)
        ax.add_artist(AnnotationBbox(image, (scale, 0.5), frameon=False, pad=0))
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("scale (object's side ÷ reference)")


def _most() -> int:
    """How many thumbnails and tick labels fit beside each other."""
    return int((style.inches("column") - 0.7) / (THUMBNAIL + 0.02))
