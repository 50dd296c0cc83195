"""Drawing pictures at any size and sub-pixel position, antialiased, each of a batch at its own.

A picture is resampled with one weight matrix per axis: the cubic filter (a = −0.5) of Pillow and
torchvision, widened when the picture shrinks. Small objects do not alias, large ones are no softer
than their source, and moving the scale a little moves the picture a little.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = −0.5, zero beyond 2."""
    d = distance.abs().clamp(max=2)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d < 1, near, far)


def resampling_matrix(
    source: int, canvas: int, centre: Tensor, step: Tensor, *, edge: bool
) -> Tensor:
    """Weights of every source pixel in every canvas pixel, along one axis.

    Parameters
    ----------
    source, canvas
        Lengths in pixels.
    centre
        (N,) where the middle of the source lies, in canvas pixels.
    step
        (N,) source pixels per canvas pixel.
    edge
        Whether the source goes on beyond its border as its last pixel (a photograph), or is
        followed by nothing (a cut-out).

    Returns
    -------
    Tensor
        (N, canvas, source).
    """
    # A pixel that sees the border sees as far again beyond it: two filter radii.
    reach = 0 if edge else math.ceil(4 * max(1.0, float(step.max())))
    pixels = torch.arange(-reach, source + reach, device=centre.device) + 0.5
    places = torch.arange(canvas, device=centre.device) + 0.5
    at = (places - centre[:, None]) * step[:, None] + source / 2  # (N, canvas) in source pixels
    at = at.clamp(0, source) if edge else at
    widened = step.clamp(min=1)[:, None, None]
    weights = cubic((at[..., None] - pixels) / widened)  # (N, canvas, reach + source + reach)
    if edge:
        return weights / weights.sum(-1, keepdim=True)
    # Beyond its reach the source contributes nothing, and 0 / 0 is to be 0.
    total = weights.sum(-1, keepdim=True)
    return (weights / torch.where(total == 0, 1, total))[..., reach : reach + source]


def resample(
    images: Tensor, canvas: int, centre: Tensor, side: Tensor, *, edge: bool = False
) -> Tensor:
    """Draw images onto a square canvas, antialiased.

    Parameters
    ----------
    images
        (N, C, h, w).
    canvas
        Side of the result, in pixels.
    centre
        (N, 2) where the middle of each image lies (y, x), in canvas pixels.
    side
        (N,) length of the image's longer side, in canvas pixels.
    edge
        See `resampling_matrix`.

    Returns
    -------
    Tensor
        (N, C, canvas, canvas).
    """
    height, width = images.shape[-2:]
    step = max(height, width) / side
    rows = resampling_matrix(height, canvas, centre[:, 0], step, edge=edge)  # (N, canvas, h)
    columns = resampling_matrix(width, canvas, centre[:, 1], step, edge=edge)  # (N, canvas, w)
    # As two products for each image: broadcasting over colours would copy the matrices for each.
    across = rows @ images.transpose(1, 2).flatten(2)  # (N, canvas, C · w)
    drawn = across.view(*across.shape[:2], -1, width).flatten(1, 2) @ columns.mT
    return drawn.view(*across.shape[:2], -1, canvas).transpose(1, 2).contiguous()


def centred(images: Tensor, canvas: int, side: float, *, edge: bool = True) -> Tensor:
    """Draw images (N, C, h, w) about the middle of a canvas, their longer side `side` pixels."""
    middle = images.new_full((len(images), 2), canvas / 2)
    return resample(images, canvas, middle, images.new_full((len(images),), side), edge=edge)


def premultiplied(rgba: Tensor) -> Tensor:
    """Turn uint8 straight RGBA (N, 4, H, W) into float premultiplied RGBA in 0…1."""
    straight = rgba.float() / 255
    alpha = straight[:, 3:]
    return torch.cat([straight[:, :3] * alpha, alpha], 1)


def warp(objects: Tensor, matrix: Tensor) -> tuple[Tensor, float]:
    """Map objects linearly about their centres, on a canvas enlarged so that nothing is cut.

    Parameters
    ----------
    objects
        Premultiplied (N, 4, h, w).
    matrix
        (N, 2, 2), from source to result, acting on (x, y).

    Returns
    -------
    tuple of Tensor and float
        The mapped objects, and how much longer their canvas has become.
    """
    height, width = objects.shape[-2:]
    size = torch.tensor([width, height], dtype=objects.dtype, device=objects.device)
    growth = max(1.0, float((matrix.abs() * (size / size[:, None])).sum(-1).max()))
    pad_y, pad_x = (math.ceil((growth - 1) * side / 2) for side in (height, width))
    padded = F.pad(objects, (pad_x, pad_x, pad_y, pad_y))
    tall, wide = padded.shape[-2:]
    # affine_grid wants the inverse map, in coordinates that run from -1 to 1 along each axis.
    extent = torch.tensor([wide, tall], dtype=objects.dtype, device=objects.device)
    inverse = torch.linalg.inv(matrix) * extent / extent[:, None]
    theta = F.pad(inverse, (0, 1))  # (N, 2, 3)
    where = F.affine_grid(theta, list(padded.shape), align_corners=False)
    mapped = F.grid_sample(padded, where, mode="bicubic", align_corners=False)
    return mapped, max(tall, wide) / max(height, width)


def rotation_matrix(degrees: Tensor) -> Tensor:
    """(N, 2, 2) matrices that turn clockwise on the screen (where y points down)."""
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def compose(objects: Tensor, backgrounds: Tensor, centre: Tensor, side: Tensor) -> Tensor:
    """Put each object on its background.

    Parameters
    ----------
    objects
        Premultiplied (N, 4, h, w) in 0…1.
    backgrounds
        (N, 3, S, S) in 0…1.
    centre
        (N, 2) the object's middle (y, x) in canvas pixels.
    side
        (N,) the length of its longer side in canvas pixels.

    Returns
    -------
    Tensor
        (N, 3, S, S) in 0…1. Colours are mixed as stored (sRGB values), as drawing programs do.
    """
    layer = resample(objects, backgrounds.shape[-1], centre, side)  # (N, 4, S, S)
    alpha = layer[:, 3:].clamp(0, 1)  # the cubic filter overshoots a little at hard edges
    colour = torch.minimum(layer[:, :3].clamp(min=0), alpha)
    return colour + (1 - alpha) * backgrounds
