"""A plain slider: one object at any scale of a sweep, and what the units make of it.

Everything it shows was measured by the sweep; moving the slider only draws. Figures are made
without pyplot, whose global state does not survive callbacks on several threads.
"""

from threading import Lock
from typing import Any

import ipywidgets as widgets
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from skviz import stats
from skviz.errors import SkvizError
from skviz.plot import style

__all__ = ["at_scale", "scale_slider"]


def at_scale(
    ds: xr.DataTree, scale: float, *, example: int = 0, unit: str | None = None
) -> style.InlineFigure:
    """Draw one scene of a sweep, the branch weights of every unit, and one unit's channels.

    Parameters
    ----------
    ds
        A sweep.
    scale
        One of its scales.
    example
        Which of the kept scenes.
    unit
        Whose channels are drawn; by default the middle unit.

    Returns
    -------
    InlineFigure
        Limits and the order of channels do not depend on `scale`, so that figures at several
        scales compare.

    Raises
    ------
    SkvizError
        If the sweep does not hold this scale, scene or unit.
    """
    root = stats.root(ds)
    names = [str(name) for name in root["unit"].values]
    unit = unit or names[len(names) // 2]
    scales = root["scale"].values
    if scale not in scales or unit not in names or not 0 <= example < root.sizes["example"]:
        raise SkvizError(
            f"the sweep holds no scale {scale:g}, unit {unit!r} and example {example} together; "
            f"its scales are {scales.tolist()}, its units {names}, and it keeps "
            f"{root.sizes['example']} examples"
        )
    with style.context():
        made = style.figure(style.TEXT, 2.35)
        scene, bars, channels = made.subplots(1, 3, width_ratios=(1, 1, 1.15))
        _scene(root.isel(image=example, example=example).sel(scale=scale), scene)
        _bars(root.isel(image=example), scale, bars)
        kernels = root["kernel"].sel(unit=unit)
        branch = int(kernels.fillna(-np.inf).argmax("branch"))
        weight = ds[unit].to_dataset()["weight"].isel(image=example, branch=branch)
        _channels(weight.dropna("channel"), scale, channels)
        kernel = float(kernels[branch])
        channels.set_title(f"{unit}, {_kernel_name(branch, kernel)} branch")
        return made


def scale_slider(ds: xr.DataTree) -> Any:
    """Make a slider over the scales of a sweep, with a choice of object and unit.

    Parameters
    ----------
    ds
        A sweep; its first scenes, those that it keeps as pictures, can be chosen.

    Returns
    -------
    ipywidgets.VBox
        Controls above the figure of `at_scale`.
    """
    root = stats.root(ds)
    names = [str(name) for name in root["unit"].values]
    ids = [str(name) for name in root["image"].values[: root.sizes["example"]]]
    scales = root["scale"].values.tolist()
    wide = widgets.Layout(width="26em")
    scale = widgets.SelectionSlider(
        options=[(f"{value:g}", value) for value in scales],
        value=min(scales, key=lambda value: abs(value - 1)),
        description="scale",
        layout=wide,
    )
    example = widgets.Dropdown(
        options=[(name, index) for index, name in enumerate(ids)], value=0, description="object"
    )
    unit = widgets.Dropdown(options=names, value=names[len(names) // 2], description="unit")
    picture = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
    drawing = Lock()

    def draw(_: object = None) -> None:
        with drawing:  # callbacks may come on several threads; the last one in draws what is set
            figure = at_scale(ds, scale.value, example=example.value, unit=unit.value)
            picture.value = figure._repr_png_()

    for control in (scale, example, unit):
        control.observe(draw, "value")
    draw()
    return widgets.VBox([widgets.HBox([example, unit]), scale, picture])


def _kernel_name(branch: int, kernel: float) -> str:
    return f"branch {branch}" if np.isnan(kernel) else f"{kernel:.0f}×{kernel:.0f}"


def _scene(here: xr.Dataset, ax: Axes) -> None:
    """Draw what the network saw and what it thought of it."""
    ax.imshow(here["thumbnail"].values)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_title(f"{here['image'].item()}, scale {here['scale'].item():g}")
    verdict = ""
    if "correct" in here:
        verdict = "recognised, " if bool(here["correct"]) else "mistaken, "
    ax.set_xlabel(f"{verdict}probability {here['probability'].item():.2f}")


def _bars(root: xr.Dataset, scale: float, ax: Axes) -> None:
    """Draw the weights of all branches, unit by unit, with a mark where they were at first."""
    weight, rows = root["weight"], np.arange(root.sizes["unit"])
    start = weight.isel(scale=0).fillna(0).cumsum("branch").values  # (unit, branch)
    now = weight.sel(scale=scale).fillna(0).values  # (unit, branch)
    left = np.zeros(len(rows))
    for branch in range(root.sizes["branch"]):
        kernels = np.unique(root["kernel"].isel(branch=branch).dropna("unit").values)
        colour = style.COLOURS[branch % len(style.COLOURS)]
        label = _kernel_name(branch, kernels[0] if len(kernels) == 1 else np.nan)
        ax.barh(rows, now[:, branch], 0.7, left, color=colour, alpha=0.75, label=label)
        left = left + now[:, branch]
        if branch + 1 < root.sizes["branch"]:
            label = "" if branch else f"scale {root['scale'].values[0]:g}"
            ax.vlines(start[:, branch], rows - 0.42, rows + 0.42, "black", lw=1.2, label=label)
    ax.set(xlim=(0, 1), xlabel="branch weight, mean over channels", ylim=(len(rows) - 0.4, -1.6))
    ax.set_yticks(rows, [str(name) for name in root["unit"].values])
    ax.tick_params("y", length=0)
    handles, labels = ax.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i].startswith("scale"))
    ax.legend([handles[i] for i in order], [labels[i] for i in order], ncols=len(order),
              loc="upper center", handlelength=0.9, handletextpad=0.4,
              columnspacing=0.9)  # fmt: skip


def _channels(weight: xr.DataArray, scale: float, ax: Axes) -> None:
    """Draw a branch's weight per channel (scale, channel), channels in the order of the first."""
    first = weight.isel(scale=0)
    order = np.argsort(first.values)
    ax.plot(first.values[order], color="black", lw=1.2, label=f"scale {first['scale'].item():g}")
    ax.plot(weight.sel(scale=scale).values[order], "o", color=style.COLOURS[1], markersize=2.2,
            label=f"scale {scale:g}")  # fmt: skip
    ax.set(xlabel=f"channel, ordered at scale {first['scale'].item():g}")
    ax.set(ylabel="weight", ylim=(-0.02, 1.19), yticks=[0, 0.25, 0.5, 0.75, 1])
    ax.legend(loc="upper center", ncols=2, handlelength=1.2, columnspacing=1.2)
