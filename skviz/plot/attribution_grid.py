"""One scene at several scales, and what in it made the network do what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skviz.errors import SkvizError
from skviz.plot import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attribution_grid"]


@style.drawing
def attribution_grid(
    ds: xr.Dataset,
    *,
    image: int = 0,
    scales: Sequence[float] | None = None,
    targets: Sequence[str] | None = None,
    quantile: float = 0.995,
) -> Figure:
    """Draw scene and attributions (rows) at several scales (columns).

    Parameters
    ----------
    ds
        Attributions of scenes (`skviz.attribute`).
    image
        Which scene.
    scales, targets
        Which to draw; by default all.
    quantile
        Of the size of the attributions of a row, where its colours saturate.

    Returns
    -------
    Figure
        Of text width. Each row has colours of its own, symmetric about zero and the same at all
        scales. Over each map: the target's value, and the share of the map's size that lies
        on the object.

    Raises
    ------
    SkvizError
        If these are attributions of plain images, or lack a scale or target.
    """
    if "scene" not in ds:
        raise SkvizError("expected attributions of scenes over scales; see skviz.attribute")
    shown = _chosen(ds, scales, targets).isel(image=image)
    rows, columns = 1 + shown.sizes["target"], shown.sizes["scale"]
    side = style.inches("text") / (columns + 1.1)
    made = style.figure("text", rows * (side + 0.24) + 0.1)
    places = made.subplots(rows, columns + 1, width_ratios=[1] * columns + [0.07], squeeze=False)
    axes, bars = places[:, :-1], places[:, -1]
    bars[0].axis("off")
    for ax, scale in zip(axes[0], shown["scale"].values, strict=True):
        ax.imshow(shown["scene"].sel(scale=scale).values)
        ax.set_title(f"scale {scale:g}", pad=2)
    _label(axes[0, 0], str(shown["image"].item()))
    for line, place, target in zip(axes[1:], bars[1:], shown["target"].values, strict=True):
        maps = shown.sel(target=target)
        limit = float(np.quantile(np.abs(maps["attribution"].values), quantile)) or 1e-12
        for ax, scale in zip(line, shown["scale"].values, strict=True):
            here = maps.sel(scale=scale)
            drawn = ax.imshow(here["attribution"], cmap="RdBu_r", vmin=-limit, vmax=limit,
                              interpolation="nearest")  # fmt: skip
            inside = f", {here['inside'].item():.0%} inside" if here["inside"].notnull() else ""
            ax.set_title(f"{here['value'].item():.3g}{inside}", pad=2, fontsize=style.small())
        _label(line[0], str(target))
        bar = made.colorbar(drawn, cax=place, ticks=[-limit, 0, limit])
        bar.ax.set_yticklabels([f"{-limit:.1g}", "0", f"{limit:.1g}"])
        bar.outline.set_linewidth(0.6)
    for ax in axes.flat:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set(visible=True, linewidth=0.4, color="0.6")
    error = ds["completeness_error"]
    holds = (
        f"; completeness error at most {float(error.max()):.1%}" if error.notnull().any() else ""
    )
    style.describe(
        made,
        f"Attributions ({ds.attrs['method']}, baseline {ds.attrs['baseline']}{holds}) of one scene "
        "over the scale of its object: red raises the target, blue lowers it. Over each map the "
        "target's value and the share of the attributions' size that lies on the object. "
        f"Colours saturate at the {quantile:.1%} quantile of each row.",
        maps=shown.drop_vars(["attribution", "scene"]),
    )
    return made


def _chosen(
    ds: xr.Dataset, scales: Sequence[float] | None, targets: Sequence[str] | None
) -> xr.Dataset:
    scales = list(ds["scale"].values if scales is None else scales)
    targets = list(ds["target"].values if targets is None else targets)
    missing = [f"scale {scale:g}" for scale in scales if scale not in ds["scale"].values]
    missing += [f"target {name!r}" for name in targets if name not in ds["target"].values]
    if missing:
        raise SkvizError(
            f"there are no attributions of {', '.join(missing)}; scales are "
            f"{ds['scale'].values.tolist()}, targets {ds['target'].values.tolist()}"
        )
    return ds.sel(scale=scales, target=targets)


def _label(ax: Axes, name: str) -> None:
    """Name a row at its left, in as many lines as it has words."""
    ax.set_ylabel("\n".join(style.short(word, 16) for word in name.split()), fontsize=style.small())
