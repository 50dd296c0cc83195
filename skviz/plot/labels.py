"""What figures say in words: names of units, ticks, legends, and the parts of captions."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap

from skviz import stats
from skviz.capture.names import branch_names
from skviz.errors import SkvizError
from skviz.plot import drawable, style


def sample(ds: xr.Dataset) -> str:
    """Say for a caption what was sampled, and how."""
    attrs, images = ds.attrs, ds.sizes["image"]
    words = [f"n = {images} scene{'s' if images > 1 else ''}"]
    words += [f"protocol {attrs['protocol']}"] if "protocol" in attrs else []
    words += [f"network {style.network(attrs['model'])}"] if "model" in attrs else []
    changed = attrs.get("changed", [])
    few = ", ".join(changed) if len(changed) <= 3 else f"{len(changed)} units"
    words += [f"weights of {few} changed"] if changed else []
    return ", ".join(words)


def scale(value: float) -> str:
    """Name a scale in a legend."""
    return f"scale {value:g}"


def branches(kernel: xr.DataArray) -> list[str]:
    """Name the branches (unit, branch) of several units: by kernel if all agree, else by index."""
    agreed, axes = [], np.unique(kernel.coords.get("axes", 2))
    for branch in range(kernel.sizes["branch"]):
        found = np.unique(kernel.isel(branch=branch).dropna("unit"))
        agreed.append(float(found[0]) if len(found) == len(axes) == 1 else None)
    return branch_names(agreed, int(axes[0]))


def branches_of(kernel: xr.DataArray) -> list[str]:
    """Name the branches (branch) of one unit."""
    return branch_names(kernel.values.tolist(), int(kernel.coords.get("axes", 2)))


def units(names: Iterable[Any], most: int = 24) -> dict[str, str]:
    """Name units in about so many characters, each unlike the others.

    Where names are longer they lose first the parts that all share, then their middle. What the
    page calls them stays as it is.
    """
    shown = {name: style.called(name) for name in map(str, names)}
    whole = [name for name, said in shown.items() if said == name]
    kept = whole
    if len(whole) > 1 and max(map(len, whole)) > most:
        parts = [name.split(".") for name in whole]
        while len({p[0] for p in parts}) == 1 and min(map(len, parts)) > 1:
            parts = [p[1:] for p in parts]
        while len({p[-1] for p in parts}) == 1 and min(map(len, parts)) > 1:
            parts = [p[:-1] for p in parts]
        kept = [".".join(p) for p in parts]
    while len({short(name, most) for name in kept}) < len(whole):
        most += 2
    shown |= {name: short(part, most) for name, part in zip(whole, kept, strict=True)}
    if len(set(shown.values())) < len(shown):
        raise SkvizError(f"labels= would call several units the same: {shown}")
    return shown


def target(name: str) -> str:
    """Name a target of attribution, its unit as the page calls it."""
    unit, space, rest = name.partition(" ")
    return f"{style.called(unit)}{space}{rest}"


def largest_kernel(ds: xr.Dataset, unit: str) -> xr.DataArray:
    """Return the weights of the branch of a unit's largest kernel, (image, scale, channel).

    ``attrs`` hold the name of the branch and the weight that equal branches would have.

    Raises
    ------
    SkvizError
        If no branch has it alone, or the sweep kept no channels.
    """
    weight = stats.channels(ds, unit).rename("weight")
    branch = int(stats.largest(stats.kernels(ds.sel(unit=[unit])))[0])
    name = branches_of(weight["kernel"])[branch]
    channels = np.arange(weight.sizes["channel"])
    found = weight.isel(branch=branch).drop_vars("kernel").assign_coords(channel=channels)
    return found.assign_attrs(branch=name, equal=1 / weight.sizes["branch"])


def zero_line(ax: Axes, *, upright: bool = False) -> None:
    """Mark zero, behind the data."""
    (ax.axvline if upright else ax.axhline)(0, color="0.6", linewidth=0.6, zorder=0)


def legend(made: Any, ax: Axes) -> None:
    """Name what an axes shows above it, in as many columns as the figure is wide for.

    Whoever gave an axes has its legend drawn, or not.
    """
    if style.given():
        return
    handles, names = ax.get_legend_handles_labels()
    each = 0.4 + style.wide(max(map(len, names)))  # inches of a line and its name
    made.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=min(len(names), max(1, int(made.bbox.width / made.dpi / each))),
        columnspacing=1,
        handlelength=2.4,
        handletextpad=0.5,
        borderaxespad=0.2,
    )


def legend_of_units(made: Any, ax: Axes) -> None:
    """Say which line of an axes is which unit: by name, or where these are many by its colour."""
    colours = [line.get_color() for line in ax.get_lines() if str(line.get_label())[0] != "_"]
    count = len(colours)
    if count <= style.MANY or style.given():
        legend(made, ax)
        return
    norm = BoundaryNorm(np.arange(count + 1) + 0.5, count)
    image = ScalarMappable(norm, ListedColormap(colours))
    bar = made.colorbar(
        image, ax=ax, label="unit, first to last", location="top", aspect=30, pad=0.02
    )
    bar.set_ticks([1, *range(5, count - 2, 5), count])
    bar.ax.tick_params(length=0)
    bar.minorticks_off()


def scale_axis(ax: Axes, scales: Sequence[float], most: int) -> None:
    """Label an axis of scales, with as many as fit."""
    shown = drawable.apart(scales, most)
    ax.set_xticks(shown, [f"{scale:g}" for scale in shown])
    ax.set_xlabel("scale")


def scale_columns(ax: Axes, scales: Any, beside: int) -> None:
    """Label columns of a map, one of so many beside each other, with as many scales as fit."""
    room = (style.inches("column") - 1.4) / beside
    most = min(len(scales), max(2, int(room / style.wide(5.8))))
    shown = drawable.spread(range(len(scales)), most)
    ax.set_xticks(shown, [f"{scales[i]:g}" for i in shown])
    ax.set_xlabel("scale")
    ax.tick_params(length=2)


def units_below(ax: Axes, names: Any, room: float | None = None, most: int = 24) -> None:
    """Label places 0, 1, … on an x axis of so many inches with units: by name, or by number."""
    if not below(ax, list(units(names, most).values()), room):
        ax.set_xlabel("unit (first to last)")
        ax.set_xticks(*zip(*[(i, str(i + 1)) for i in range(0, len(names), 4)], strict=True))


def below(ax: Axes, names: Sequence[str], room: float | None = None) -> bool:
    """Name places 0, 1, … on an x axis of so many inches, turned if need be; say if they fit."""
    room = style.inches("column") - 0.6 if room is None else room
    if 0.57 * room / len(names) < style.small() / 72:  # between turned lines
        return False
    shown = [short(name) for name in names]
    ax.set_xticks(range(len(names)), shown)
    if style.wide(len(names) * max(map(len, shown))) > room:
        turn(ax)
    return True


def units_left(ax: Axes, names: Sequence[str], rest: float) -> None:
    """Label places 0, 1, … on a y axis with units: by name, or by number.

    The axis is as high as the figure but for so many inches. Below the units may be one for all
    together.
    """
    if len(names) * style.small() / 72 < style.high(ax.figure) - rest:
        ax.set_yticks(range(len(names)), names)
        return
    ax.set_ylabel("unit (first to last)")
    whole = names[-1] == "all"
    numbers = [(i, str(i + 1)) for i in range(0, len(names) - 2 * whole, 4)]
    numbers += [(len(names) - 1, "all")] * whole
    ax.set_yticks(*zip(*numbers, strict=True))


def row(ax: Axes, name: str, height: float) -> None:
    """Name a row of so many inches at its left, in as many lines as the name has words."""
    most = max(9, int(height / style.wide(0.9)))
    words = [short(word, min(most, 18)) for word in name.split()]
    ax.set_ylabel("\n".join(words), fontsize=style.small())


def turn(ax: Axes, angle: float = 35) -> None:
    """Turn the labels of the x axis."""
    for label in ax.get_xticklabels():
        label.set(rotation=angle, ha="right", rotation_mode="anchor")


def short(name: str, most: int = 24) -> str:
    """Leave out the middle of a long name."""
    kept = (most - 1) // 2
    return name if len(name) <= most else f"{name[:kept]}…{name[-kept:]}"
