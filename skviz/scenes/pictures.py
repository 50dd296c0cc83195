"""One picture or mask, in whatever form it comes, as numbers between 0 and 1.

What is unambiguous is converted; the rest is refused, because a picture that is read wrongly looks
like any other to a network.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from skviz.errors import DataError

COLOURED = 0.1  # more difference between channels than JPEG makes of grey
FEWEST = 2**21  # pixels that are left of a larger picture
DECODED, NUMBERS = 4, 36  # bytes that a pixel takes as Pillow has it, and on its way to floats
BLOCK = 2**26  # bytes that Pillow asks for at once: so many go back when they are freed
TURNED = 0x0112  # the EXIF tag that says so
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by number of channels


def as_picture(value: Any) -> Tensor:
    """Turn a picture into (3, H, W) in 0…1.

    Parameters
    ----------
    value
        A path, a PIL picture, or a NumPy array or tensor: (H, W), (H, W, C) or (C, H, W) with 1
        (grey), 2 (grey and alpha), 3 or 4 (RGBA) channels; uint8 in 0…255, uint16 in 0…65535,
        bool, or floats in 0…1. What is transparent is shown on white.

    Raises
    ------
    DataError
        If it is anything else, or could be read in two ways.
    """
    pixels = in_unit_range(value, "picture")
    if len(pixels) in (2, 4):
        alpha = pixels[-1:]
        pixels = alpha * pixels[:-1] + (1 - alpha)
    return pixels.expand(3, -1, -1)


def as_mask(value: Any) -> Tensor:
    """Turn the mask of an object into (1, H, W) in 0…1.

    Parameters
    ----------
    value
        As for `as_picture`, but grey; of any type if it holds 0 and 1 only. Of what is transparent
        counts what is seen of it on black.

    Raises
    ------
    DataError
        As `as_picture` does, or if it marks nothing.
    """
    pixels = in_unit_range(value, "mask")
    if len(pixels) in (2, 4):
        pixels = pixels[-1:] * pixels[:-1]
    if bool((pixels.amax(0) - pixels.amin(0) > COLOURED).any()):
        raise DataError("the mask is coloured; give it grey or bool, such as mask == class number")
    pixels = pixels[:1]
    largest = float(pixels.max())
    if largest <= 0.5:
        said = "" if largest == 0 else (
            f": its largest value is {largest:.3g} of what its type can hold. If it holds class "
            "numbers, give mask == number"
        )  # fmt: skip
        raise DataError(f"the mask is empty{said}")
    return pixels


def in_unit_range(value: Any, what: str) -> Tensor:
    """Return the channels of a picture or mask as floats in 0…1, (C, H, W)."""
    if isinstance(value, str | os.PathLike):
        value = opened(Path(value))
    if isinstance(value, Image.Image):
        return scaled(decoded(value), what, of_file=True)
    if not isinstance(value, np.ndarray | Tensor):
        raise DataError(
            f"expected a {what} as path, PIL picture, NumPy array or tensor, got "
            f"{type(value).__name__}"
        )
    pixels = torch.tensor(native(value, what)) if isinstance(value, np.ndarray) else value
    return scaled(channels_first(pixels.detach().cpu(), what), what)


def native(array: np.ndarray, what: str) -> np.ndarray:
    """Return an array as torch can take it."""
    if array.dtype.kind not in "buif":
        raise DataError(f"a {what} holds numbers, got {array.dtype}")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))


def channels_first(pixels: Tensor, what: str) -> Tensor:
    """Return (C, H, W), wherever the channels are."""
    shape = tuple(pixels.shape)
    if pixels.ndim == 2:
        return pixels[None]
    first, last = (pixels.ndim == 3 and shape[at] in MODES for at in (0, 2))
    if first and last:
        raise DataError(
            f"a {what} of shape {shape} can be read as (C, H, W) and as (H, W, C); give a PIL "
            "picture"
        )
    if not (first or last) or 0 in shape:
        raise DataError(
            f"expected a {what} (H, W), (H, W, C) or (C, H, W) with 1 to 4 channels, got {shape}"
            + ("; give one picture, not a batch" if pixels.ndim == 4 else "")
        )
    return pixels if first else pixels.permute(2, 0, 1)


def scaled(pixels: Tensor, what: str, *, of_file: bool = False) -> Tensor:
    """Bring the values to 0…1 by what their type says, or refuse them."""
    kind = pixels.dtype
    if kind in (torch.uint16, torch.uint32, torch.uint64):
        pixels = pixels.long()  # torch can do little with these
    low, high = float(pixels.min()), float(pixels.max())
    binary = 0 <= low <= high <= 1 and bool(((pixels == 0) | (pixels == 1)).all())
    if kind == torch.bool or (binary and what == "mask"):
        return pixels.float()
    if kind in (torch.uint8, torch.uint16):
        most = torch.iinfo(kind).max
        if binary and high == 1 and not of_file:
            raise DataError(
                f"the {what} is {kind} and holds 0 and 1 only, where {most} is white; give floats "
                "in 0…1, or multiply by 255"
            )
        return pixels.float().div_(most)
    if not kind.is_floating_point:
        raise DataError(
            f"{kind} has no known range; give a {what} as uint8, uint16 or floats in 0…1"
        )
    if not 0 <= low <= high <= 1:  # NaN too
        raise DataError(
            f"the values of a {what} of floats lie in 0…1, got {low:.4g} to {high:.4g}; give it "
            "without normalisation, or as uint8 if they lie in 0…255"
        )
    return pixels.float()


def decoded(picture: Image.Image) -> Tensor:
    """Return the channels of a PIL picture, uint8 or uint16 (C, H, W)."""
    if picture.mode.startswith("I;16"):
        return torch.from_numpy(np.array(picture, np.uint16))[None]
    if picture.mode in ("I", "F"):
        raise DataError(f"a picture of mode {picture.mode!r} has no known range; save it as 8 bits")
    if picture.mode not in MODES.values() or "transparency" in picture.info:
        grey, clear = picture.mode == "1", picture.has_transparency_data
        picture = picture.convert("L" if grey else "RGBA" if clear else "RGB")
    array = np.array(picture)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)


def opened(path: Path) -> Image.Image:
    """Decode a file, turned as its EXIF data say.

    One of more than 2²³ pixels is halved, by the mean of 2×2 pixels, until it has 2²¹ to 2²³.

    Raises
    ------
    DataError
        If it is no file, or the image has more pixels than Pillow takes for safe
        (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    if path.exists() and not path.is_file():  # to open a pipe waits for whoever writes into it
        raise DataError(f"{path} is no file")
    with Image.open(path) as picture:
        width, height = picture.size
        if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{width}×{height} pixels, more than {Image.MAX_IMAGE_PIXELS}: it may be a "
                "decompression bomb"
            )
        halvings = max(0, math.floor(math.log(max(1, width * height) / FEWEST, 4)))
        MEMORY.take(width * height * (DECODED + NUMBERS / 4**halvings))
        return ImageOps.exif_transpose(smaller(picture, 2**halvings) if halvings else picture)


def smaller(picture: Image.Image, factor: int) -> Image.Image:
    """Return a picture of which factor × factor pixels are one, as Pillow's bytes."""
    Image.core.set_block_size(BLOCK)  # type: ignore[attr-defined]
    turned, wide = picture.getexif().get(TURNED), picture.width
    picture.draft(None, (-(-wide // factor), -(-picture.height // factor)))  # JPEG, as it decodes
    left = factor // max(1, round(wide / picture.width))
    if not picture.mode.startswith("I;16") and picture.mode not in (*MODES.values(), "I", "F"):
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    made = picture.reduce(left)
    if turned:
        made.getexif()[TURNED] = turned
    return made


class Memory:
    """How many bytes pictures may take that are read at once, each by a thread of `within`.

    A thread that has some already takes more without waiting, so that none waits for another.
    """

    def __init__(self, most: float) -> None:
        self.left = self.most = most
        self.free = threading.Condition()
        self.mine = threading.local()

    @contextmanager
    def within(self) -> Iterator[None]:
        """Give back at the end what was taken inside."""
        outer = getattr(self.mine, "taken", None)
        self.mine.taken = outer or 0.0
        try:
            yield
        finally:
            if outer is None:
                with self.free:
                    self.left += self.mine.taken
                    self.free.notify_all()
                self.mine.taken = None

    def take(self, count: float) -> None:
        """Wait until so many bytes, or all there are, may be taken."""
        held = getattr(self.mine, "taken", None)
        if held is None:
            return
        with self.free:
            count = min(count, self.most)
            self.free.wait_for(lambda: bool(held) or self.left >= count)
            self.left -= count
        self.mine.taken = held + count


MEMORY = Memory(4e8)
