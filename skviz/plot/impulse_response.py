"""What the branches of a unit do to a single pixel."""

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor, nn

from skviz.nn import SKAttention, SKConv
from skviz.plot import style
from skviz.plot.unit_diagram import effective_kernel, kernel_label

__all__ = ["impulse_response"]


@style.drawing
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
    convs: list[nn.Conv2d] = [branch.get_submodule("conv") for branch in unit.convs]  # type: ignore[misc]
    reach = max(map(effective_kernel, convs)) // 2 + 1
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
