"""A view of the explorer as a figure: for paper, and where no JavaScript runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skviz.plot import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from skviz.widget.grid import Payload

__all__ = ["still", "unpacked"]


def unpacked(grid: Payload) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the images (scale, y, x, rgb), and by unit weights (scale, branch, channel)."""
    count, side = len(grid["scales"]), grid["canvas"]
    images = np.frombuffer(grid["images"], np.uint8).reshape(count, side, side, 3)
    flat = np.frombuffer(grid["weights"], "<f4").reshape(count, -1)
    shapes = [(len(unit["branches"]), unit["channels"]) for unit in grid["units"]]
    ends = np.cumsum([branches * channels for branches, channels in shapes])
    parts = np.split(flat, ends[:-1], 1)
    return images, [part.reshape(count, *shape) for part, shape in zip(parts, shapes, strict=True)]


def still(grid: Payload, *, scale: float, unit: str) -> style.InlineFigure:
    """Draw a scene at two scales, the branch weights of every unit, and the curve of one.

    Parameters
    ----------
    grid
        What `skviz.widget.grid.measure` gives.
    scale
        The nearest scale of the grid is drawn, against the smallest.
    unit
        The unit whose curve is drawn.

    Returns
    -------
    InlineFigure
        Of text width.
    """
    images, weights = unpacked(grid)
    scales, names = np.array(grid["scales"]), [unit["name"] for unit in grid["units"]]
    now = int(np.abs(scales - scale).argmin())
    chosen = names.index(unit)
    with style.context():
        made = style.figure(style.TEXT, 2.35)
        cells = made.add_gridspec(2, 3, width_ratios=(0.55, 1.2, 1.1))
        for row, index in enumerate((0, now)):
            ax = made.add_subplot(cells[row, 0])
            ax.imshow(images[index])
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(f"scale {scales[index]:g}")
            best = grid["names"][str(grid["classes"][index][0])]
            ax.set_xlabel(f"{best} {grid['probabilities'][index][0]:.2f}", fontsize=7)
        _bars(grid, weights, now, made.add_subplot(cells[:, 1]))
        ax = made.add_subplot(cells[:, 2])
        _curve(grid["units"][chosen]["branches"], scales, weights[chosen], now, ax)
        ax.set_title(unit)
    return made


def _bars(grid: Payload, weights: list[np.ndarray], now: int, ax: Axes) -> None:
    """Draw the weights of all branches, unit by unit, with a mark where they were at first."""
    labels: list[str] = []
    for unit in grid["units"]:
        labels += [label for label in unit["branches"] if label not in labels]
    for row, (unit, weight) in enumerate(zip(grid["units"], weights, strict=True)):
        left = 0.0
        means = weight.mean(2)  # (scale, branch)
        for label, width in zip(unit["branches"], means[now], strict=True):
            colour = style.COLOURS[labels.index(label) % len(style.COLOURS)]
            ax.barh(row, width, 0.7, left, color=colour, alpha=0.75)
            left += width
        ax.vlines(means[0].cumsum()[:-1], row - 0.42, row + 0.42, "black", lw=1.2)
    rows = range(len(weights))
    ax.set(xlim=(0, 1), ylim=(len(weights) - 0.4, -0.6), xlabel="branch weight, mean over channels")
    ax.set_yticks(rows, [unit["name"] for unit in grid["units"]])
    ax.tick_params("y", length=0)
    handles = [ax.barh(0, 0, color=colour, alpha=0.75) for colour in style.COLOURS[: len(labels)]]
    handles.append(ax.vlines([], [], [], "black", lw=1.2))  # type: ignore[arg-type]
    ax.legend(handles, [*labels, f"scale {grid['scales'][0]:g}"], ncols=len(handles),
              loc="lower center", bbox_to_anchor=(0.5, 0.98), handlelength=0.9)  # fmt: skip


def _curve(labels: list[str], scales: np.ndarray, weight: np.ndarray, now: int, ax: Axes) -> None:
    """Draw the mean weight of every branch of one unit (scale, branch, channel) against scale."""
    means = weight.mean(2)
    for index, (label, look) in enumerate(zip(labels, style.series(len(labels)), strict=True)):
        line = {key: value for key, value in look.items() if key != "marker"}
        ax.plot(scales, means[:, index], label=label, **line)
        ax.plot(scales[now], means[now, index], look["marker"], color=look["color"], markersize=4)
    ax.axvline(scales[now], color="0.6", lw=0.6, zorder=0)
    ax.set(xlabel="scale", ylabel="weight, mean over channels", ylim=(0, 1))
    ax.legend(loc="upper left", ncols=2)
