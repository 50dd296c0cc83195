"""Backgrounds: photographs that ship; and fractal noise, gradients and textures, from a seed.

Every picture that is made is one scalar field between two colours. Picture i depends on its own
seed alone, so a batch can be cut anywhere and gives the same pictures.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from skviz.assets import names_in, read_image
from skviz.errors import DataError, SceneError
from skviz.scenes.ready import Enlarged

HELD_OUT_BACKGROUNDS = ("forest", "gravel", "lobby", "sky", "venice")

OCTAVES = (3, 6, 12, 24, 48)
PARAMETERS = 12
DRAWS = PARAMETERS + sum(cells**2 for cells in OCTAVES)


def draws(seeds: Sequence[int], count: int) -> Tensor:
    """Draw `count` uniform numbers for each seed, (N, count), the same on every device."""
    return torch.stack(
        [torch.rand(count, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    )


def grid(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the (size, size) coordinates y and x of the pixels' centres, from 0 to 1."""
    axis = (torch.arange(size, device=device) + 0.5) / size
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return y, x


def fractal(noise: Tensor, roughness: Tensor, size: int) -> Tensor:
    """Sum octaves of smooth noise.

    Parameters
    ----------
    noise
        Uniform numbers, (N, Σ cells²), the octaves one after the other.
    roughness
        (N,) amplitude ratio from one octave to the next, 0 to 1.
    size
        Side of the field in pixels.

    Returns
    -------
    Tensor
        (N, size, size), stretched to 0…1.
    """
    field = noise.new_zeros(len(noise), size, size)
    parts = noise.split([cells**2 for cells in OCTAVES], dim=1)
    for octave, (part, cells) in enumerate(zip(parts, OCTAVES, strict=True)):
        coarse = part.reshape(-1, 1, cells, cells)
        smooth = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
        field = field + roughness[:, None, None] ** octave * smooth[:, 0]
    low, high = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return (field - low) / (high - low)


def gradient(angle: Tensor, size: int) -> Tensor:
    """Linear ramps in direction `angle` (N,), in radians: (N, size, size), 0 to 1."""
    y, x = grid(size, angle.device)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    ramp = (x - 0.5) * cos + (y - 0.5) * sin
    return ramp / (cos.abs() + sin.abs()) + 0.5


def texture(angle: Tensor, frequency: Tensor, crossed: Tensor, size: int) -> Tensor:
    """Stripes, or where `crossed` a chequered pattern, with soft edges.

    Parameters
    ----------
    angle, frequency
        (N,) direction in radians and periods per picture.
    crossed
        (N,) bool.
    size
        Side of the field in pixels.
    """
    y, x = grid(size, angle.device)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    phase = 2 * math.pi * frequency[:, None, None]
    along = torch.sin(phase * (x * cos + y * sin))
    across = torch.sin(phase * (y * cos - x * sin))
    pattern = torch.where(crossed[:, None, None], along * across, along)
    return torch.sigmoid(6 * pattern)


def procedural(seeds: Sequence[int], size: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Make one background for each seed.

    Parameters
    ----------
    seeds
        N whole numbers.
    size
        Side in pixels.
    device
        Where the pictures are rendered; the numbers are drawn on the CPU.

    Returns
    -------
    Tensor
        (N, 3, size, size) in 0…1: half fractal noise, the rest gradients and textures in equal
        parts.
    """
    numbers = draws(seeds, DRAWS).to(device)
    u, noise = numbers[:, :PARAMETERS], numbers[:, PARAMETERS:]
    angle = 2 * math.pi * u[:, 1]
    frequency = 2 * 8 ** u[:, 2]  # 2 to 16 periods: the finest stays well below Nyquist at 96 px
    fields = torch.stack(
        [
            fractal(noise, 0.4 + 0.5 * u[:, 3], size),
            gradient(angle, size),
            texture(angle, frequency, u[:, 4] < 0.5, size),
        ]
    )  # (3, N, size, size)
    kind = torch.bucketize(u[:, 0].contiguous(), torch.tensor([0.5, 0.75], device=u.device))  # (N,)
    field = fields[kind, torch.arange(len(u), device=u.device)][:, None]  # (N, 1, size, size)
    first, other = u[:, 5:8], u[:, 8:11]
    second = first + (0.15 + 0.85 * u[:, 11:12]) * (other - first)  # from low to full contrast
    return torch.lerp(first[..., None, None], second[..., None, None], field).clamp(0, 1)


def real_backgrounds(*, held_out: bool | None = None) -> dict[str, Tensor]:
    """Return the photographed backgrounds by name, uint8 (3, H, W).

    Parameters
    ----------
    held_out
        True for those that the shipped networks never saw, False for the others, None for all.
    """
    names = {Path(name).stem: name for name in names_in("backgrounds")}
    return {
        stem: read_image(name, "RGB")
        for stem, name in names.items()
        if held_out is None or held_out == (stem in HELD_OUT_BACKGROUNDS)
    }


def fitted(given: Tensor, count: int, size: int) -> Tensor:
    """Return backgrounds for so many scenes, (count, 3, size, size): as many, or one for all.

    Raises
    ------
    SceneError
        If they have another shape.
    DataError
        If they are not floats in 0…1.
    """
    if given.shape[1:] != (3, size, size) or len(given) not in (1, count):
        raise SceneError(
            f"backgrounds must be ({count} or 1, 3, {size}, {size}), got {tuple(given.shape)}"
        )
    low, high = float(given.min()), float(given.max())
    if not (given.is_floating_point() and 0 <= low <= high <= 1):  # NaN too
        raise DataError(
            f"backgrounds must be floats in 0…1, got {given.dtype} from {low:.4g} to {high:.4g}"
        )
    return given.detach().expand(count, -1, -1, -1)


def named(name: str, size: int) -> Tensor:
    """Return (1, 3, size, size) in 0…1: ``"procedural 7"`` for a seed, or a photographed one.

    Raises
    ------
    SceneError
        If there is none of that name.
    """
    kind, _, seed = name.partition(" ")
    if kind == "procedural" and seed.isdecimal():
        return procedural([int(seed)], size)
    pictures = real_backgrounds()
    if name not in pictures:
        known = ", ".join(("procedural 0", *pictures))
        raise SceneError(f"there is no background {name!r}; there are {known}")
    return Enlarged((pictures[name][None] / 255,), size).render(1.0)
