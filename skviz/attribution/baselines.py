"""What is attributed: images, where their object is, and what stands for "nothing there"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skviz.errors import AttributionError
from skviz.scenes.source import Scenes
from skviz.studies.setting import category_index


class Seen(NamedTuple):
    """Images (image, 3, H, W) at one scale, and what is known of them.

    Attributes
    ----------
    images, backgrounds
        (image, 3, H, W).
    mask
        (image, H, W) where the object is.
    truth
        (image,) the class of each.
    """

    images: Tensor
    backgrounds: Tensor | None
    mask: Tensor | None
    truth: Tensor | None


def seen(
    model: nn.Module, scenes: Scenes, scales: Sequence[float], device: torch.device
) -> Iterator[Seen]:
    """Render scenes, scale by scale."""
    here, truth = scenes.ready(device), category_index(model, scenes)
    for scale in scales:
        yield Seen(here.render(scale), here.behind, here.mask(scale), truth)


def make_baselines(
    asked: str | float | Tensor,
    images: Tensor,
    backgrounds: Tensor | None,
    *,
    several: bool,
) -> Tensor:
    """Return what `skviz.attribute` takes as ``baseline`` as tensors (K, image or 1, 3, H, W).

    Parameters
    ----------
    asked
        See `skviz.attribute`; or what this function returned.
    images
        (image, 3, H, W).
    backgrounds
        (image, 3, H, W), of scenes that have them.
    several
        Whether a tensor (K, 3, H, W) is K baselines for every image, not one for each of them.
    """
    if isinstance(asked, Tensor):
        return of_each(asked.to(images), images.shape, several=several)
    if isinstance(asked, int | float) and not isinstance(asked, bool):
        return torch.full_like(images, asked)[None]
    if asked == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images)[None]
    if asked == "blur":
        from torchvision.transforms.v2.functional import gaussian_blur  # a second to import

        sigma = min(images.shape[-2:]) / 8
        size = 2 * max(1, round(3 * sigma)) + 1
        return gaussian_blur(images, [size, size], [sigma, sigma])[None]
    if asked == "background" and backgrounds is not None:
        return backgrounds.to(images)[None]
    raise AttributionError(
        "a baseline is 'mean', 'blur', a number, a tensor that fits the images, or for scenes "
        f"with objects 'background'; got {asked!r}"
    )


def of_each(given: Tensor, shape: tuple[int, ...], *, several: bool) -> Tensor:
    """Return baselines as (K, image or 1, 3, H, W), for images of this shape."""
    if given.ndim == len(shape) + 1 and given.shape[2:] == shape[1:]:
        return given
    try:
        if several and given.ndim == 4:
            return given.expand(-1, *shape[1:])[:, None]
        return given.expand(shape)[None]
    except RuntimeError:
        raise AttributionError(
            f"the baseline, {tuple(given.shape)}, does not fit the images, {tuple(shape)}"
        ) from None


def checked_mask(mask: Tensor | None, images: Tensor) -> Tensor | None:
    """Return a mask as (image, H, W) floats in 0…1 beside the images, or raise."""
    if mask is None:
        return None
    mask = mask[:, 0] if mask.ndim == 4 and mask.shape[1] == 1 else mask
    expected = (len(images), *images.shape[-2:])
    if mask.shape != expected:
        raise AttributionError(
            f"the mask must be {expected}, one for each image, got {tuple(mask.shape)}"
        )
    mask = mask.to(images.device, torch.float32)
    if not bool(((mask >= 0) & (mask <= 1)).all()):  # NaN too
        raise AttributionError("a mask's values lie in 0…1; divide a picture of 0…255 by 255")
    return mask
