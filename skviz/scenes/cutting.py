"""Cutting the masked object out of a photograph, and filling the hole behind it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from skviz.errors import SceneError
from skviz.scenes.drawing import centred
from skviz.scenes.layers import VISIBLE, Layers


def fill_hole(image: Tensor, mask: Tensor) -> Tensor:
    """Fill the masked part of a picture smoothly from what surrounds it.

    Pull-push (Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4): average what is known
    at ever coarser resolutions, then fill each resolution from the next coarser one.

    Parameters
    ----------
    image
        (3, H, W) in 0…1.
    mask
        (1, H, W) in 0…1; 1 where the picture is to be replaced.

    Returns
    -------
    Tensor
        (3, H, W).

    Raises
    ------
    SceneError
        If the mask covers the whole picture.
    """
    # A soft mask's rim still shows the object; only what is wholly outside counts as known.
    known = (F.max_pool2d(mask[None], 5, 1, 2) < VISIBLE).to(image.dtype)  # (1, 1, H, W)
    if not bool(known.any()):
        raise SceneError("the mask covers the whole picture: nothing is left to fill it from")

    def pull_push(total: Tensor, weight: Tensor) -> Tensor:
        if bool((weight > 0).all()):
            return total / weight
        size = list(weight.shape[-2:])
        coarse = pull_push(
            F.avg_pool2d(total, 2, ceil_mode=True), F.avg_pool2d(weight, 2, ceil_mode=True)
        )
        guess = F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
        share = weight.clamp(max=1)
        return total + (1 - share) * guess

    return pull_push(image[None] * known, known)[0].clamp(0, 1)


def square(mask: Tensor, side: int) -> tuple[int, int]:
    """Top and left of the square of that side that holds the mask's middle best."""
    height, width = mask.shape[-2:]
    rows, columns = (mask[0] > 0.5).nonzero().float().mean(0).tolist()
    top = min(max(round(rows - side / 2), 0), height - side)
    left = min(max(round(columns - side / 2), 0), width - side)
    return top, left


def cut_out(picture: Tensor, mask: Tensor, canvas: int, *, name: str, number: int) -> Layers:
    """Cut the masked object out of a photograph, to return to the filled picture at any scale.

    Parameters
    ----------
    picture, mask
        (3, H, W) and (1, H, W), in 0…1.
    canvas
        Side of the scene in pixels. The largest square about the object is shown.
    name, number
        As of `Layers`.

    Returns
    -------
    Layers
        Of one scene; at scale 1 the object has its own size and place.

    Raises
    ------
    SceneError
        If the mask covers the whole picture, or has another size, or marks so much at both ends of
        a long picture that no square shows any of it.
    """
    if mask.shape[-2:] != picture.shape[-2:]:
        raise SceneError(
            f"the mask is {tuple(mask.shape[-2:])} pixels, its picture {tuple(picture.shape[-2:])}"
        )
    side = min(picture.shape[-2:])
    top, left = square(mask, side)
    part = (slice(None), slice(top, top + side), slice(left, left + side))
    image, alpha = picture[part], mask[part]
    inside = (alpha[0] > VISIBLE).nonzero()
    if not len(inside):
        raise SceneError(
            "nothing of what is marked lies in the largest square about its middle; mark one object"
        )
    (y, x), (bottom, right) = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
    tight = torch.cat([image * alpha, alpha])[:, y:bottom, x:right]
    height, width = tight.shape[-2:]
    longest = max(height, width)
    longest += longest % 2  # so that no object's middle depends on others' sizes
    above, before = (longest - height) // 2, (longest - width) // 2
    padded = F.pad(tight, (before, longest - width - before, above, longest - height - above))
    pixel = canvas / side  # scene pixels per picture pixel
    middle = torch.tensor([[y - above, x - before]]) + longest / 2  # in picture pixels
    behind = centred(fill_hole(image, alpha)[None], canvas, canvas).clamp(0, 1)
    reference = torch.tensor([longest * pixel])
    return Layers(padded[None], behind, reference, middle * pixel, (name,), (number,))


def joined(parts: Sequence[Layers]) -> Layers:
    """Put scenes of one canvas together; cut-outs keep their pixels, and get margins."""
    longest = max(part.objects.shape[-1] for part in parts)
    margins = [(longest - part.objects.shape[-1]) // 2 for part in parts]
    return Layers(
        torch.cat([F.pad(p.objects, (m,) * 4) for p, m in zip(parts, margins, strict=True)]),
        torch.cat([part.backgrounds for part in parts]),
        torch.cat([part.reference * (longest / part.objects.shape[-1]) for part in parts]),
        torch.cat([part.centre for part in parts]),
        tuple(name for part in parts for name in part.ids),
        tuple(number for part in parts for number in part.numbers),
    )
