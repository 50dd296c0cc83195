"""Crops of the photographed backgrounds, for scenes that a network is trained or tried on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from skviz.scenes.backgrounds import draws

__all__ = ["crops"]


def crops(pictures: Sequence[Tensor], seeds: Sequence[int], size: int) -> Tensor:
    """Cut one random square out of a random picture for each seed, and resize it.

    Parameters
    ----------
    pictures
        uint8 (3, H, W), any sizes.
    seeds
        N whole numbers.
    size
        Side of the result in pixels.

    Returns
    -------
    Tensor
        (N, 3, size, size) in 0…1; the square's side is 50 to 100 % of the picture's shorter side,
        mirrored half of the time.
    """
    made = []
    for which, extent, top, left, mirror in draws(seeds, 5).tolist():
        picture = pictures[int(which * len(pictures))]
        height, width = picture.shape[1:]
        side = round((0.5 + 0.5 * extent) * min(height, width))
        y, x = round(top * (height - side)), round(left * (width - side))
        cut = picture[:, y : y + side, x : x + side].float()[None] / 255
        cut = F.interpolate(cut, size=(size, size), mode="bilinear", antialias=True)
        made.append(cut.flip(-1) if mirror < 0.5 else cut)
    return torch.cat(made).clamp(0, 1)  # resizing rounds
