"""A Selective-Kernel unit as a drawing, and what its branches do to a single pixel."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import BoxStyle, Circle, FancyBboxPatch, Rectangle
from matplotlib.ticker import MultipleLocator
from torch import Tensor, nn

from skviz.nn import SKAttention, SKConv
from skviz.plot import style

__all__ = ["impulse_response", "kernel_label", "unit_diagram"]

BANDS = (("Split", 8, 41, "#E8F1F8"), ("Fuse", 41, 80, "#EAF5EC"), ("Select", 80, 111, "#FBEEE3"))
LANE = 2.5  # height of the descriptor's path, below the branches
STEP = 9.0  # from one branch to the next


def effective_kernel(conv: nn.Conv2d) -> int:
    """Dilation · (k − 1) + 1: the side of the square that holds a convolution's taps."""
    return conv.dilation[0] * (conv.kernel_size[0] - 1) + 1


def kernel_label(conv: nn.Conv2d) -> str:
    """Name a kernel by its effective size, such as ``5×5 (3×3, dilation 2)``."""
    size, dilation = conv.kernel_size[0], conv.dilation[0]
    effective = effective_kernel(conv)
    made_of = f" ({size}×{size}, dilation {dilation})" if dilation > 1 else ""
    return f"{effective}×{effective}{made_of}"


def convolutions(unit: SKConv | SKAttention) -> list[nn.Conv2d]:
    """Return the convolution of each branch."""
    return [branch.get_submodule("conv") for branch in unit.convs]  # type: ignore[misc]


def unit_diagram(unit: SKConv | SKAttention, *, size: tuple[int, int] | None = None) -> Figure:
    """Draw Split, Fuse and Select of a unit, with the shapes of one image's tensors.

    Parameters
    ----------
    unit
        Its branches, kernels, dilations, channels and descriptor length are drawn as they are.
    size
        Height and width of the unit's input; by default the letters H and W.

    Returns
    -------
    Figure
        Of text width.
    """
    convs = convolutions(unit)
    fuse = "fc" if isinstance(unit, SKAttention) else "fc, BN, ReLU"
    descriptor = unit.d if isinstance(unit, SKAttention) else unit.select.in_features
    channels, stride = convs[0].out_channels, convs[0].stride[0]
    before, after = "H×W", "H×W" if stride == 1 else f"H/{stride}×W/{stride}"
    if size is not None:
        before, after = (f"{-(-size[0] // s)}×{-(-size[1] // s)}" for s in (1, stride))
    rows = [LANE + STEP * (len(convs) - index) for index in range(len(convs))]  # first on top
    middle, top = sum(rows) / len(rows), rows[0] + 9.5
    with style.context():
        made = style.figure("text", style.inches("text") * (top + 5.5) / 124)
        ax = made.subplots()
        ax.set(xlim=(-3, 121), ylim=(LANE - 8, top), aspect="equal")
        ax.axis("off")
        for name, left, right, colour in BANDS:
            corner = (left + 0.4, LANE - 7.5)
            ax.add_patch(Rectangle(corner, right - left - 0.8, top - corner[1], color=colour, lw=0))
            ax.text(left + 2, top - 1, name, va="top", weight="bold")
        _map(ax, 2, middle, "X", f"{channels}×{before}", style.COLOURS[-1])
        for index, (conv, y) in enumerate(zip(convs, rows, strict=True)):
            _branch(ax, conv, index, (middle, y, 88 + 2.6 * (len(convs) - index)))
        _map(ax, 116, middle, "V", f"{channels}×{after}", style.COLOURS[-1])
        _fuse(ax, rows, (channels, descriptor, after), fuse)
        _circle(ax, 107, middle, "+")
        _arrow(ax, (108.6, middle), (113.4, middle))
        return made


def _branch(ax: Axes, conv: nn.Conv2d, index: int, at: tuple[float, float, float]) -> None:
    """Draw a branch's convolution, its way to the sum and to its weight."""
    middle, y, gate = at
    colour = style.COLOURS[index % len(style.COLOURS)]
    _arrow(ax, (4.7, middle), (10.5, y), colour)
    _box(ax, 10.7, y, 28.3, 6.8, colour)
    _taps(ax, conv, 11.7, y, 5, colour)
    groups = f", {conv.groups} groups" if conv.groups > 1 else ""
    ax.text(18, y + 1.5, kernel_label(conv), va="center", fontsize=6.5, weight="bold")
    ax.text(18, y - 1.5, f"conv{groups}, BN, ReLU", va="center", fontsize=6)
    ax.plot([39.5, 45], [y, y], color=colour)
    ax.plot(45, y, "o", color=colour, markersize=2.5)
    _arrow(ax, (45, y), (gate - 1.7, y), colour)
    ax.text(46.2, y + 0.6, f"branch {index}", color=colour, fontsize=6.5, va="bottom")
    _arrow(ax, (gate, LANE + 3.3), (gate, y - 1.7), colour)
    _circle(ax, gate, y, "×", colour)
    way = np.array([107 - gate, middle - y])
    way *= 1.7 / np.hypot(*way)
    _arrow(ax, (gate + way[0], y + way[1]), (107 - way[0], middle - way[1]), colour)


def _fuse(
    ax: Axes, rows: Sequence[float], shape: tuple[int, int, str], descriptor_layers: str
) -> None:
    """Draw the path from the branches' sum to their weights."""
    channels, d, size = shape
    ax.plot([45, 45], [rows[0], LANE + 1.6], color="0.25")
    _circle(ax, 45, LANE, "+")
    steps = (  # left, width, name, shape
        (50, 8.5, "U", f"{channels}×{size}"),
        (62.5, 5, "S", f"{channels}"),
        (73.5, 5, "Z", f"{d}"),
        (84.5, 25, f"softmax over {len(rows)} branches", f"weights: {len(rows)}×{channels}"),
    )
    for left, width, name, text in steps:
        _box(ax, left, LANE, width, 6.4, "0.25")
        bold = "bold" if len(name) == 1 else "normal"
        ax.text(left + width / 2, LANE + 1.3, name, ha="center", va="center",
                fontsize=7 if bold == "bold" else 6.5, weight=bold)  # fmt: skip
        ax.text(left + width / 2, LANE - 1.5, text, ha="center", va="center", fontsize=6)
    layers = ("", "mean", descriptor_layers, "fc")
    starts = (46.6, 58.5, 67.5, 78.5)
    for start, (end, *_), layer in zip(starts, steps, layers, strict=True):
        _arrow(ax, (start, LANE), (end - 0.2, LANE))
        ax.text((start + end) / 2, LANE - 4, layer, ha="center", va="top", fontsize=6)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = "0.25"
) -> None:
    look = {"arrowstyle": "-|>,head_width=0.15,head_length=0.3", "color": colour, "lw": 1.0,
            "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    ax.annotate("", end, start, arrowprops=look)


def _box(ax: Axes, left: float, y: float, width: float, height: float, colour: str) -> None:
    shape = BoxStyle("round", pad=0, rounding_size=0.8)
    corner = (left, y - height / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner,
            width,
            height,
            boxstyle=shape,
            facecolor="white",
            edgecolor=colour,
            linewidth=0.9,
        )
    )


def _circle(ax: Axes, x: float, y: float, sign: str, colour: str = "0.25") -> None:
    ax.add_patch(Circle((x, y), 1.6, facecolor="white", edgecolor=colour, linewidth=0.9, zorder=3))
    ax.text(x, y - 0.1, sign, ha="center", va="center_baseline", fontsize=8, zorder=4)


def _map(ax: Axes, x: float, y: float, name: str, text: str, colour: str) -> None:
    """Draw a feature map as a few sheets, with its shape below."""
    for back in (1.2, 0.6, 0.0):
        corner = (x - 2.5 + back, y - 2.5 + back)
        ax.add_patch(Rectangle(corner, 5, 5, facecolor="white", edgecolor=colour, linewidth=0.8))
    ax.text(x, y, name, ha="center", va="center", weight="bold")
    ax.text(x, y - 3.4, text.replace("×", "×\n", 1), ha="center", va="top", fontsize=6)


def _taps(ax: Axes, conv: nn.Conv2d, left: float, y: float, side: float, colour: str) -> None:
    """Draw the square of the effective kernel with the convolution's taps filled."""
    effective, step = effective_kernel(conv), conv.dilation[0]
    cell = side / max(effective, 3)
    low = y - effective * cell / 2
    left = left + (side - effective * cell) / 2
    for row, column in np.ndindex(effective, effective):
        tap = row % step == 0 and column % step == 0
        corner = (left + column * cell, low + row * cell)
        face = colour if tap else "white"
        ax.add_patch(Rectangle(corner, cell, cell, facecolor=face, edgecolor="0.6", linewidth=0.4))


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
    convs = convolutions(unit)
    reach = max(map(effective_kernel, convs)) // 2 + 1
    with style.context():
        made = style.figure("text", 0.86 * style.inches("text") / max(len(convs), 3) + 0.6)
        axes = made.subplots(1, len(convs), sharey=True)
        for ax, conv in zip(axes, convs, strict=True):
            response = _impulse(conv, 2 * reach + 1).cpu().numpy()
            edge = reach + 0.5
            image = ax.imshow(
                response / response.max(),
                cmap="Blues",
                vmin=0,
                vmax=1,
                extent=(-edge, edge, edge, -edge),
            )
            ax.set_title(kernel_label(conv))
            ax.set_xlabel("pixels from the impulse")
            ax.xaxis.set_major_locator(MultipleLocator(2))
            ax.yaxis.set_major_locator(MultipleLocator(2))
        bar = made.colorbar(image, ax=list(axes), pad=0.02, aspect=12)
        bar.set_label("relative response")
        return made


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
