"""Attributions from what happens when parts of the image are taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from captum.attr import Occlusion
from torch import Tensor

if TYPE_CHECKING:
    from skviz.attribution.probe import Probe

__all__ = ["feature_ablation", "occlusion"]


def occlusion(
    probe: Probe, images: Tensor, baseline: Tensor, *, window: int, stride: int, rows: int
) -> Tensor:
    """Change of each target when a square is covered (Zeiler and Fergus 2014).

    Parameters
    ----------
    probe
        The model and T targets.
    images, baseline
        (image, 3, H, W).
    window, stride
        Side of the square and its step, in pixels.
    rows
        How many in one pass.

    Returns
    -------
    Tensor
        (T, image, 3, H, W), the mean over the squares that cover a pixel, split evenly over
        colours.
    """
    with torch.no_grad():
        maps = Occlusion(probe).attribute(
            images,
            sliding_window_shapes=(images.shape[1], window, window),
            strides=(images.shape[1], stride, stride),
            baselines=baseline,
            additional_forward_args=(torch.arange(len(images), device=images.device),),
            perturbations_per_eval=max(1, rows // len(images)),
        )
    # Captum gives (image · T, 3, H, W): a map for each output of each image.
    by_image = maps.reshape(len(images), -1, *images.shape[1:])
    return by_image.transpose(0, 1) / images.shape[1]


def feature_ablation(probe: Probe, images: Tensor, baseline: Tensor, *, mask: Tensor) -> Tensor:
    """Change of each target when the object is taken away, and when all but the object is.

    Parameters
    ----------
    probe, images, baseline
        As `occlusion`.
    mask
        (image, H, W), where the object is.

    Returns
    -------
    Tensor
        (T, image, 3, H, W): the change, spread evenly over the pixels whose removal made it, so
        that the map of the object sums to the change.
    """
    inside = (mask > 0.5)[:, None]  # (image, 1, H, W)
    everyone = torch.arange(len(images), device=images.device)
    total = images.new_zeros((len(probe.targets), *images.shape))
    with torch.no_grad():
        value = probe(images, everyone)  # (image, T)
        for part in (inside, ~inside):
            change = value - probe(torch.where(part, baseline, images), everyone)
            share = part / (part.sum((2, 3), keepdim=True) * images.shape[1]).clamp(min=1)
            total += change.T[..., None, None, None] * share
    return total
