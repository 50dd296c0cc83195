"""A Selective-Kernel unit as a drawing, with the kernels and weights that it has."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import BoxStyle, Circle, FancyBboxPatch, Rectangle
from torch import Tensor, nn

from skviz.capture import Unit, units_of
from skviz.capture.kernels import Kernel
from skviz.capture.names import kernel_name
from skviz.capture.recording import record, spatial_mean
from skviz.capture.tape import Frame, Listener, Made
from skviz.errors import SkvizError
from skviz.plot import style
from skviz.studies.setting import as_scenes, at_rest, witnessed

UNIT = 1 / 18  # inches of one unit of the drawing, where labels have 8 points
STEP = 8.5  # from one branch to the next
LANE = 4.0  # height of the descriptor's path, below the branches
BOX = 4.6  # width of the descriptor's boxes
# What aten calls the operations that are named in the drawing.
POOLING = {"mean": "mean", "_adaptive_avg_pool2d": "mean", "avg_pool2d": "mean",
           "amax": "maximum", "max": "maximum", "adaptive_max_pool2d": "maximum"}  # fmt: skip
LAYERS = {**dict.fromkeys(("addmm", "mm", "bmm", "linear"), "dense"), "convolution": "convolution"}
WORDS = LAYERS | {f"native_{kind}_norm": "norm" for kind in ("batch", "layer", "group")}
WORDS |= {name: name for name in ("gelu", "silu", "hardswish", "sigmoid", "tanh", "leaky_relu")}
WORDS["relu"] = "ReLU"
SPLIT, FUSE, SELECT = "#E8F1F8", "#EAF5EC", "#FBEEE3"


@style.drawing
def unit_diagram(
    model: nn.Module,
    scenes: Any,
    *,
    unit: str | None = None,
    scale: float = 1.0,
    ax: Axes | None = None,
) -> Figure:
    """Draw Split, Fuse and Select of one unit of any model, as it is while it sees some images.

    Parameters
    ----------
    model
        Any model with SK units, or a unit by itself.
    scenes
        What it sees, all at once: images as it takes them, (image, channel, H, W), or whatever
        `skviz.sweep` takes.
    unit
        Its name, as `skviz.find_units` gives it; by default the middle unit.
    scale
        At which scenes are shown.
    ax
        Draw into these axes; by default a new figure of text width.

    Returns
    -------
    Figure
        The one made, or that of the axes. Of each branch: its kernel (taps shaded by the mean
        absolute weight of the convolution, where it has one of its own), and its weight in every
        channel, mean over images and places, from 0 to 1; a dotted line is 1/M. Below, the
        operations that were seen on the way to S (a number for each channel), to Z (fewer, where
        there are two dense layers) and to the weights.

    Raises
    ------
    SkvizError
        If the model has no such unit, or the page is too narrow.
    """
    shown = as_scenes(model, scenes)
    images = shown.render(scale)
    found = units_of(model, images)
    chosen = found[len(found) // 2] if unit is None else found[unit]
    module = model.get_submodule(chosen.place.module if chosen.place else chosen.name)
    weights, seen = _run(model, images, chosen, module)
    count = chosen.branches
    wide = style.inches("text") / UNIT / style.enlarged()
    least = 76 + 2.6 * count
    if wide < least:
        raise SkvizError(
            f"a unit of {count} branches needs {least * UNIT * style.enlarged():.1f} inches, got "
            f"{style.inches('text'):.1f}; use width='text'"
        )
    rows = [LANE + 4 + STEP * (count - index) for index in range(count)]  # first on top
    middle, top, low = sum(rows) / count, rows[0] + 9.3, LANE - 4
    gate = wide - 18 - 2.6 * count  # of the first branch
    end = wide - 14.8  # the sum
    made = style.figure("text", (top - low + 0.5) * UNIT)
    ax = ax or made.subplots()
    ax.set(xlim=(0, wide), ylim=(low, top + 0.5))
    ax.set_aspect("equal")
    ax.axis("off")
    floor, edge = LANE + 4.2, wide - 9  # between the branches and the descriptor; of Select
    _area(ax, (9, floor + 0.4, 25, top - floor - 0.4), SPLIT, "Split")
    _area(ax, (9, low, gate - 13.4, floor - low), FUSE, "Fuse")
    _area(ax, (34.4, floor + 0.4, edge - 34.4, top - floor - 0.4), SELECT, "Select")
    _area(ax, (gate - 4, low, edge - gate + 4, floor - low + 0.5), SELECT, "")
    shapes = [f"{c}×\n{h}×{w}" for c, h, w in seen.shapes] or ["", ""]
    _map(ax, 4, middle, "X", shapes[0])
    _map(ax, wide - 4.6, middle, "V", shapes[-1])
    kernels: tuple[Kernel | None, ...] = chosen.kernels or (None,) * count
    for index, (y, kernel) in enumerate(zip(rows, kernels, strict=True)):
        colour = style.COLOURS[index % len(style.COLOURS)]
        _arrow(ax, (7.2, middle), (9.8, y), colour)
        taps = _taps(module, kernel, kernels.count(kernel))
        _kernel(ax, y, kernel, chosen.axes, taps, colour)
        _weights(ax, weights[index], (39, y, gate - 42), f"branch {index}", colour, 1 / count)
        _way(ax, (y, gate + 2.6 * index), (end, middle), colour)
    _circle(ax, end, middle, "+")
    _arrow(ax, (end + 1.6, middle), (wide - 7.3, middle))
    steps = seen.steps(len(images))
    _fuse(ax, rows[0], gate, count, steps)
    said = "".join(f" {name}: {words}." for name, (words, _) in zip("SZ", steps[0], strict=False))
    table = xr.Dataset(
        {"weight": (("branch", "channel"), weights)},
        coords={"kernel": ("branch", list(chosen.sizes))},
        attrs=witnessed(model, shown, [scale]),
    )
    return style.describe(
        made,
        f"Model structure of SK unit {style.called(chosen.name) or type(model).__name__}: {count} "
        f"branches and their weight in each of {weights.shape[1]} channels, mean over "
        f"{len(images)} images; dotted: 1/M. Squares: taps of each kernel.{said}",
        weights=table,
    )


class _Seen(Listener):
    """Keeps (C, H, W) of what a module is first given and gives, and what it computes."""

    aten = True
    within = frozenset({"the unit"})

    def __init__(self, module: nn.Module) -> None:
        super().__init__({"the unit": module})
        self.shapes: list[tuple[int, int, int]] = []
        self.operations: list[tuple[str, int, int]] = []  # name, numbers it takes and makes
        self.over = False  # after its first call

    def left(self, _frame: Frame, args: tuple[Any, ...], output: Any) -> None:
        """Look at a call."""
        maps, self.over = (*args[:1], output), True
        if not self.shapes and all(isinstance(t, Tensor) and t.ndim == 4 for t in maps):
            self.shapes.extend(tuple(t.shape[1:]) for t in maps)

    def made(self, made: Made) -> None:
        """Look at an operation."""
        result = made.result[0] if isinstance(made.result, tuple) else made.result
        taken = next((t for t in made.args if isinstance(t, Tensor)), None)
        if self.over or not (made.function and isinstance(result, Tensor) and taken is not None):
            return
        name = str(made.function).split(".")[1].rstrip("_")  # without "in place"
        if name == "convolution" and made.args[1][0, 0].numel() == 1 == made.args[8]:
            name = "linear"  # a kernel of one place, and no groups
        if name in POOLING and result.ndim > 2 and result[0, 0].numel() > 1:
            name = "part"  # of the places are left: it is no descriptor
        self.operations.append((name, taken.numel(), result.numel()))

    def steps(self, images: int) -> tuple[list[tuple[str, int]], str, bool]:
        """Say how many numbers an image has at S and at Z, and by what these are made.

        Then what makes scores of the last, and whether a softmax makes weights of those. Nothing is
        said where there are several softmaxes, which may be those of other units.
        """
        names = [name for name, _, _ in self.operations]
        soft = names.count("_softmax")
        end = names.index("_softmax") if soft else len(names)
        pooled = [i for i, (name, taken, made) in enumerate(self.operations[:end])
                  if name in POOLING and taken > made > images]  # fmt: skip
        if soft > 1 or not pooled:
            return [], "", soft == 1
        way = self.operations[pooled[-1] : end]
        words = [(WORDS[name], made // images) for name, _, made in way if name in WORDS]
        layers = [i for i, (word, _) in enumerate(words) if word in LAYERS.values()]
        between = words[: layers[1]] if len(layers) > 1 else []
        ways = [(POOLING[way[0][0]], way[0][2] // images)]
        ways += [(", ".join(word for word, _ in between), between[-1][1])] if between else []
        last = dict.fromkeys(word for word, _ in words[len(between) :])
        return ways, ", ".join(last), soft == 1


def _run(
    model: nn.Module, images: Tensor, unit: Unit, module: nn.Module
) -> tuple[np.ndarray, _Seen]:
    """Return the weights (branch, channel), and what was seen of the unit."""
    seen = _Seen(module)
    here, recording = at_rest(model, images.device), record(model, [unit])
    with here, torch.no_grad(), seen, recording:
        model(images)
    recorded = next(iter(recording.weights.values()))  # (image, branch, channel[, spatial…])
    return spatial_mean(recorded.double()).mean(0).cpu().numpy(), seen


def effective_kernel(conv: nn.Conv2d) -> int:
    """Dilation · (k − 1) + 1: the side of the square that holds a convolution's taps."""
    return conv.dilation[0] * (conv.kernel_size[0] - 1) + 1


def kernel_label(conv: nn.Conv2d) -> str:
    """Name a kernel by its effective size, such as ``5×5 (3×3, dilation 2)``."""
    size, dilation = conv.kernel_size[0], conv.dilation[0]
    effective = effective_kernel(conv)
    made_of = f" ({size}×{size}, dilation {dilation})" if dilation > 1 else ""
    return f"{effective}×{effective}{made_of}"


def _taps(module: nn.Module, kernel: Kernel | None, branches: int) -> tuple[np.ndarray, str] | None:
    """Return how strong each place of a kernel is (k, k), and what the kernel is made of.

    None where no single convolution of the unit has this kernel.
    """
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    square = [c for c in convs if len({*c.kernel_size}) == 1 == len({*c.dilation})]
    mine = [c for c in square if effective_kernel(c) == kernel]
    if len(mine) != 1 or branches > 1:
        return None
    conv, k = mine[0], effective_kernel(mine[0])
    strength = np.zeros((k, k))
    step = conv.dilation[0]
    strength[::step, ::step] = conv.weight.detach().float().abs().mean((0, 1)).cpu()
    made_of = kernel_label(conv).partition(" (")[2].rstrip(")") or "convolution"
    groups = f"{conv.groups} groups" if conv.groups > 1 else ""
    return strength / (strength.max() or 1), "\n".join(filter(None, (made_of, groups)))


def _kernel(
    ax: Axes, y: float, kernel: Kernel | None, axes: int, taps: Any, colour: str
) -> None:  # fmt: skip
    """Draw a branch's kernel in its box."""
    _box(ax, 10, y, 23, 7.2, colour)
    sides = kernel if isinstance(kernel, tuple) else (kernel or 1,) * axes
    strength = taps[0] if taps else np.zeros((1, *sides)[-2:])
    cell = 5.4 / max(*strength.shape, 3)
    left, high = 14 - strength.shape[1] * cell / 2, y + strength.shape[0] * cell / 2
    for row, column in np.ndindex(strength.shape):
        share = 0.25 + 0.75 * strength[row, column] if strength[row, column] else 0
        face = 1 - share * (1 - np.array(to_rgb(colour)))
        place = (left + column * cell, high - (row + 1) * cell)
        ax.add_patch(Rectangle(place, cell, cell, facecolor=face, edgecolor="0.6", linewidth=0.4))
    lines = taps[1].split("\n") if taps else []
    name = kernel_name(kernel, axes) if kernel else "unknown"
    text: Any = {"va": "center", "fontsize": style.least()}
    ax.text(17.8, y + len(lines), name, weight="bold", **text)
    for number, line in enumerate(lines):
        ax.text(17.8, y + len(lines) - 1.9 * (number + 1), line, **text)


def _weights(
    ax: Axes,
    weights: np.ndarray,
    at: tuple[float, float, float],
    name: str,
    colour: str,
    equal: float,
) -> None:
    """Draw a branch's weight in every channel, from 0 to 1, above its way; dotted what is equal."""
    left, low, wide, tall = at[0], at[1] + 0.6, at[2], 3.4
    x = left + np.repeat(np.linspace(0, wide, len(weights) + 1), 2)[1:-1]
    ax.add_patch(Rectangle((left, low), wide, tall, facecolor="white", edgecolor="0.6", lw=0.4))
    ax.fill_between(x, low, low + tall * np.repeat(weights, 2), color=colour, lw=0, zorder=2)
    ax.plot([left, left + wide], [low + tall * equal] * 2, ":", color="black", linewidth=0.6)
    text = f"{name}: {weights.mean():.2f}"
    ax.text(left, low + tall + 0.3, text, va="bottom", color=colour, fontsize=style.least())


def _way(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw a branch's way from its kernel past its weight to the sum."""
    y, gate = start
    ax.plot([33.2, 36.5], [y, y], color=colour)
    ax.plot(36.5, y, "o", color=colour, markersize=2.5)
    _arrow(ax, (36.5, y), (gate - 1.7, y), colour)
    _arrow(ax, (gate, LANE + 3.2), (gate, y - 1.7), colour)
    _circle(ax, gate, y, "×", colour)
    way = np.array([end[0] - gate, end[1] - y])
    way *= 1.7 / np.hypot(*way)
    _arrow(ax, (gate + way[0], y + way[1]), (end[0] - way[0], end[1] - way[1]), colour)


def _fuse(ax: Axes, top: float, gate: float, count: int, seen: tuple[Any, str, bool]) -> None:
    """Draw the path from the branches' sum over their descriptors to their weights."""
    ax.plot([36.5, 36.5], [top, LANE + 1.6], color="0.25")
    _circle(ax, 36.5, LANE, "+")
    ways, last, soft = seen
    step = (gate - 3 - 38.1) / (len(ways) + 1)  # from one box's end to the next one's
    text: Any = {"ha": "center", "va": "center", "fontsize": style.least()}
    for number, (name, (words, size)) in enumerate(zip("SZ", ways, strict=False)):
        left = 38.1 + step * (number + 1) - BOX
        _box(ax, left, LANE, BOX, 6, "0.25")
        _operation(ax, left - step + BOX, left, words)
        ax.text(left + BOX / 2, LANE + 1.1, name, weight="bold", **text)
        ax.text(left + BOX / 2, LANE - 1.4, str(size), **text)
    _operation(ax, gate - 3 - step, gate - 3, last)
    _box(ax, gate - 3, LANE, 14, 6, "0.25")
    words = f"softmax over\n{count} branches" if soft else f"{count} branches\nsum to 1"
    ax.text(gate + 4, LANE, words, linespacing=1.3, **text)


def _operation(ax: Axes, start: float, end: float, words: str) -> None:
    """Draw an arrow along the path, and beside it what happens on the way, if there is room."""
    _arrow(ax, (start, LANE), (end - 0.2, LANE))
    above, _, below = words.partition(", ")
    room = (end - start) * UNIT * style.enlarged()
    if style.wide(max(len(above), len(below)), style.least()) > room:
        return
    for y, va, line in ((0.5, "bottom", above), (-0.6, "top", below)):
        ax.text((start + end) / 2, LANE + y, line, ha="center", va=va, fontsize=style.least())


def _area(ax: Axes, at: tuple[float, float, float, float], colour: str, name: str) -> None:
    left, low, wide, tall = at
    ax.add_patch(Rectangle((left, low), wide, tall, color=colour, lw=0))
    ax.text(left + 0.8, low + tall - 0.6, name, va="top", weight="bold")


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = "0.25"
) -> None:
    look = {"arrowstyle": "-|>,head_width=0.15,head_length=0.3", "color": colour, "lw": 1.0,
            "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    ax.annotate("", end, start, arrowprops=look)


def _box(ax: Axes, left: float, y: float, wide: float, tall: float, colour: str) -> None:
    shape = BoxStyle("round", pad=0, rounding_size=0.8)
    look: Any = {"facecolor": "white", "edgecolor": colour, "linewidth": 0.9, "boxstyle": shape}
    ax.add_patch(FancyBboxPatch((left, y - tall / 2), wide, tall, **look))


def _circle(ax: Axes, x: float, y: float, sign: str, colour: str = "0.25") -> None:
    ax.add_patch(Circle((x, y), 1.6, facecolor="white", edgecolor=colour, linewidth=0.9, zorder=3))
    ax.text(x, y - 0.1, sign, ha="center", va="center_baseline", zorder=4)


def _map(ax: Axes, x: float, y: float, name: str, text: str) -> None:
    """Draw a feature map as a few sheets, with its shape below."""
    for back in (1.2, 0.6, 0.0):
        corner = (x - 3.1 + back, y - 2.5 + back)
        ax.add_patch(Rectangle(corner, 5, 5, facecolor="white", edgecolor="black", linewidth=0.8))
    ax.text(x - 0.6, y, name, ha="center", va="center", weight="bold")
    ax.text(x - 0.6, y - 3.2, text, ha="center", va="top", fontsize=style.least())
