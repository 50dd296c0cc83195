"""What the branches of a unit do to a single pixel."""

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator
from torch import Tensor, nn

from skviz.models.nn import SKAttention, SKConv
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
    places = np.arange(-reach, reach + 1)
    height = 0.86 * style.inches("text") / max(len(convs), 3) / style.enlarged()
    made = style.figure("text", height + 0.6)
    axes = made.subplots(1, len(convs), sharey=True)
    shown = []
    for ax, conv in zip(axes, convs, strict=True):
        response = _impulse(conv, 2 * reach + 1).cpu().numpy()
        shown.append(response / response.max())
        edge = reach + 0.5
        image = ax.imshow(
            shown[-1], cmap="Blues", vmin=0, vmax=1, extent=(-edge, edge, edge, -edge)
        )
        ax.set_title(kernel_label(conv).replace(" (", "\n("), fontsize=style.small())
        ax.xaxis.set_major_locator(MultipleLocator(2))
        ax.yaxis.set_major_locator(MultipleLocator(2))
    made.supxlabel("pixels from the impulse", fontsize=axes[0].xaxis.label.get_size())
    bar = made.colorbar(image, ax=list(axes), pad=0.02, aspect=12)
    bar.set_label("relative response")
    style.describe(
        made,
        "Mean absolute response of each branch's convolution to a single pixel that is 1 in every "
        "channel, relative to the branch's strongest.",
        response=xr.DataArray(
            np.stack(shown), {"y": places, "x": places}, ("branch", "y", "x"), "response"
        ),
    )
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
