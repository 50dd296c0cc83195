"""Photographs as scenes: a masked object rescaled in its own picture, or the paper's zoom."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from skviz.errors import DataError, SceneError
from skviz.scenes.drawing import resample
from skviz.scenes.made import content_of, step
from skviz.scenes.pictures import as_mask, as_picture
from skviz.scenes.source import VISIBLE, Scenes, check_scale

__all__ = ["Zoom", "fill_hole", "from_photographs", "zoom"]

T = TypeVar("T")


def named(name: str, read: Callable[[Any], T], value: Any) -> T:
    """Read a picture or mask; what is wrong with it is said with its name."""
    try:
        return read(value)
    except DataError as error:
        raise DataError(f"photograph {name!r}: {error}") from error


def check_sizes(picture: Tensor, mask: Tensor) -> None:
    """Raise `SceneError` unless the mask has its picture's height and width."""
    if mask.shape[-2:] != picture.shape[-2:]:
        raise SceneError(
            f"the mask is {tuple(mask.shape[-2:])} pixels, its picture {tuple(picture.shape[-2:])}"
        )


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
        If the mask covers the whole picture, or has another size.
    """
    check_sizes(image, mask)
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


def from_photographs(
    pictures: Mapping[str, tuple[Any, Any]],
    *,
    canvas: int = 96,
    device: torch.device | str = "cpu",
) -> Scenes:
    """Cut the masked object out of each photograph, to return to the filled picture at any scale.

    Parameters
    ----------
    pictures
        By name: picture and mask, as `skviz.scenes.pictures` takes them.
    canvas
        Side of the scenes in pixels. The largest square about the object is shown.
    device
        Where scenes are rendered.

    Returns
    -------
    Scenes
        At scale 1 the object has its own size and place.

    Raises
    ------
    DataError
        If a picture or mask cannot be read, or the mask is empty.
    SceneError
        If a mask covers its whole picture, or has another size.
    """
    cut_outs, corners, pixels, backgrounds = [], [], [], []
    for name, (given_picture, given_mask) in pictures.items():
        picture, mask = named(name, as_picture, given_picture), named(name, as_mask, given_mask)
        check_sizes(picture, mask)
        side = min(picture.shape[-2:])
        top, left = square(mask, side)
        part = (slice(None), slice(top, top + side), slice(left, left + side))
        image, alpha = picture[part], mask[part]
        inside = (alpha[0] > VISIBLE).nonzero()
        (y, x), (bottom, right) = inside.amin(0).tolist(), (inside.amax(0) + 1).tolist()
        cut_outs.append(torch.cat([image * alpha, alpha])[:, y:bottom, x:right])
        corners.append((y, x))
        pixels.append(canvas / side)  # scene pixels per picture pixel
        whole = torch.full((1, 2), canvas / 2), torch.tensor([float(canvas)])
        backgrounds.append(resample(fill_hole(image, alpha)[None], canvas, *whole, edge=True))
    # The cut-outs keep their pixels; transparent margins give them one size.
    longest = max(length for cut_out in cut_outs for length in cut_out.shape[-2:])
    longest += longest % 2  # so that no object's middle depends on the others' sizes
    objects, centre = [], []
    for cut_out, (y, x), pixel in zip(cut_outs, corners, pixels, strict=True):
        height, width = cut_out.shape[-2:]
        above, before = (longest - height) // 2, (longest - width) // 2
        below, after = longest - height - above, longest - width - before
        objects.append(F.pad(cut_out, (before, after, above, below)))
        middle = torch.tensor([y - above, x - before]) + longest / 2  # in picture pixels
        centre.append(middle * pixel)
    names = tuple(pictures)
    return Scenes(
        torch.stack(objects),
        torch.cat(backgrounds).clamp(0, 1),
        torch.tensor([longest * pixel for pixel in pixels]),
        torch.stack(centre),
        names,
        names,
        {
            "protocol": "rescale",
            "canvas": canvas,
            "source": "photographs",
            "made": [step("skviz.from_photographs", pictures=names, canvas=canvas)],
        },
    ).to(device)


@dataclass(frozen=True, eq=False)
class Zoom:
    """Photographs whose centre is enlarged: the paper's protocol (section 4.4, figure 3).

    Attributes
    ----------
    pictures
        N pictures (1, 3, H, W) in 0…1, of any sizes.
    canvas
        Side of the rendered scenes in pixels.
    category, ids
        N names.
    attrs
        How the scenes were made, for provenance.
    """

    pictures: tuple[Tensor, ...]
    canvas: int
    category: tuple[str, ...]
    ids: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, part: slice, /) -> Self:
        return replace(
            self,
            pictures=self.pictures[part],
            category=self.category[part],
            ids=self.ids[part],
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the photographs on `device`."""
        return replace(self, pictures=tuple(picture.to(device) for picture in self.pictures))

    @cached_property
    def content(self) -> np.ndarray:
        """(N,) uint64, 64 bits of the sha256 of each picture."""
        return np.array([content_of(picture) for picture in self.pictures], np.uint64)

    def coverage(self, scale: float) -> None:
        """Where the object is in these photographs is not known."""

    def check(self, scale: float) -> None:
        """Raise `SceneError` unless the scale is a number of at least 1."""
        check_scale(scale)
        if scale < 1:
            raise SceneError(
                f"zoom enlarges the centre of a photograph, so its scale is at least 1, got {scale}"
            )

    def render(self, scale: float) -> Tensor:
        """Enlarge the central 1 / scale of every photograph to the canvas: (N, 3, S, S) in 0…1.

        Raises
        ------
        SceneError
            If the scale is not a number of at least 1.
        """
        self.check(scale)
        made = []
        for picture in self.pictures:
            short, long = sorted(picture.shape[-2:])
            middle = picture.new_full((1, 2), self.canvas / 2)
            side = picture.new_tensor([self.canvas * scale * long / short])
            made.append(resample(picture, self.canvas, middle, side, edge=True))
        return torch.cat(made).clamp(0, 1)


def zoom(
    pictures: Mapping[str, Any],
    *,
    category: Iterable[str] | None = None,
    canvas: int = 96,
    device: torch.device | str = "cpu",
) -> Zoom:
    """Make the scenes of the paper's zoom protocol.

    Parameters
    ----------
    pictures
        By name, as `skviz.scenes.pictures` takes them. At scale 1 the whole central square is seen.
    category
        One for each picture; by default its name.
    canvas
        Side of the scenes in pixels.
    device
        Where scenes are rendered.

    Raises
    ------
    DataError
        If a picture cannot be read.
    """
    names = tuple(pictures)
    made = tuple(named(name, as_picture, picture)[None] for name, picture in pictures.items())
    labels = names if category is None else tuple(category)
    if len(labels) != len(names):
        raise SceneError(f"{len(names)} photographs need as many categories, got {len(labels)}")
    calls = [step("skviz.zoom", pictures=names, category=category and labels, canvas=canvas)]
    attrs = {"protocol": "zoom", "canvas": canvas, "made": calls}
    return Zoom(made, canvas, labels, names, attrs).to(device)
