"""Data sets as scenes: a folder of images, or any map-style dataset of torchvision.

Nothing is read until a part of them is needed, so memory does not grow with the data set.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from skviz.errors import DataError, SceneError
from skviz.scenes.photographs import Zoom, from_photographs, zoom
from skviz.scenes.source import Scenes, areas

__all__ = ["READERS", "Pictures", "Rendered", "as_bytes", "from_dataset", "from_folder", "opened"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
READERS = min(16, os.cpu_count() or 1)  # threads that decode files
T = TypeVar("T")
Pair = tuple[Tensor, Tensor | None]  # picture and mask


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images that are read when a part of them is put on a device.

    Attributes
    ----------
    read
        Gives image i as a PIL picture or a tensor (C, H, W), and its mask likewise or None.
    raw
        Gives the bytes that make image i and its mask what they are.
    category, ids
        N names.
    places
        What `read` and `raw` are called with, for each of the N images.
    attrs
        How the scenes are made: ``protocol`` and ``canvas``.
    threads
        That may call `read` at once.
    """

    read: Callable[[int], tuple[Any, Any]]
    raw: Callable[[int], bytes]
    category: tuple[str, ...]
    ids: tuple[str, ...]
    places: Sequence[int]
    attrs: dict[str, Any] = field(default_factory=dict)
    threads: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice, /) -> Self:
        return self.take(range(len(self))[part])

    def take(self, places: Sequence[int]) -> Self:
        """Return the images at these places."""
        return replace(
            self,
            category=tuple(self.category[place] for place in places),
            ids=tuple(self.ids[place] for place in places),
            places=tuple(self.places[place] for place in places),
        )

    def content(self, index: int) -> int:
        """Return the first 64 bits of the sha256 of what makes one image what it is."""
        digest = hashlib.sha256(self.raw(self.places[index])).digest()
        return int.from_bytes(digest[:8], "big")

    def to(self, device: torch.device | str) -> Scenes | Zoom:
        """Read all of them, onto `device`.

        Raises
        ------
        DataError
            At the first image that cannot be read, with its name.
        """
        with ThreadPoolExecutor(self.threads) as pool:
            pairs = list(pool.map(self.named(self.picture), range(len(self))))
        return self.scenes(dict(zip(self.ids, pairs, strict=True))).to(device)

    def render(self, scale: float) -> Tensor:
        """Read and render all of them: (N, 3, S, S) in 0…1."""
        return self.to("cpu").render(scale)

    def coverage(self, scale: float) -> Tensor | None:
        """Read all of them; how much of each pixel is object, (N, S, S), or None without masks."""
        return self.to("cpu").coverage(scale)

    def rendered(
        self, scales: Sequence[float], device: torch.device | str, *, skip: bool = False
    ) -> tuple["Rendered", dict[int, str]]:
        """Read and render one image after the other; no more are held than there are threads.

        Parameters
        ----------
        scales
            At which each is rendered.
        device
            Where.
        skip
            Go on without those that cannot be read or rendered.

        Returns
        -------
        tuple
            The images that could be rendered, and what is wrong with the others, by place.

        Raises
        ------
        DataError
            Without `skip`, at the first image that cannot be shown, with its name.
        """

        def show(index: int) -> tuple[list[Tensor], Tensor, int]:
            scene = self.scenes({self.ids[index]: self.picture(index)}).to(device)
            return [scene.render(scale) for scale in scales], areas(scene), self.content(index)

        problems: dict[int, str] = {}
        shown = []
        with ThreadPoolExecutor(self.threads) as pool:  # decoders let go of Python's lock
            jobs = [pool.submit(self.named(show), index) for index in range(len(self))]
            for index, job in enumerate(jobs):
                try:
                    shown.append(job.result())
                except DataError as error:
                    why = error.__cause__
                    problems[index] = f"{type(why).__name__}: {why}"
                    if not skip:
                        pool.shutdown(cancel_futures=True)
                        raise
        images = {
            scale: torch.cat([parts[place] for parts, _, _ in shown])
            for place, scale in enumerate(scales if shown else ())
        }
        found = torch.cat([torch.empty(0), *(area.cpu() for _, area, _ in shown)])
        content = np.array([content for _, _, content in shown], np.uint64)
        return Rendered(images, found, content), problems

    def named(self, action: Callable[[int], T]) -> Callable[[int], T]:
        """Have whatever an action on one image raises say which image it was."""

        def act(index: int) -> T:
            try:
                return action(index)
            except Exception as error:  # whatever a decoder or a dataset may raise
                raise DataError(
                    f"image {self.ids[index]!r} cannot be used ({type(error).__name__}: {error}); "
                    "mend it, or give on_error='skip'"
                ) from error

        return act

    def picture(self, index: int) -> Pair:
        """Read one image, uint8 (3, H, W), and its mask, uint8 (1, H, W)."""
        picture, mask = self.read(self.places[index])
        if self.attrs["protocol"] == "rescale" and mask is None:
            raise DataError("protocol 'rescale' needs a mask of the object")
        return as_bytes(picture, "RGB"), None if mask is None else as_bytes(mask, "L")

    def scenes(self, ready: dict[str, Pair]) -> Scenes | Zoom:
        """Make scenes of images that were read, by name."""
        category = dict(zip(self.ids, self.category, strict=True))
        labels = tuple(category[name] for name in ready)
        canvas = self.attrs["canvas"]
        if self.attrs["protocol"] == "zoom":
            pictures = {name: picture for name, (picture, _) in ready.items()}
            return zoom(pictures, category=labels, canvas=canvas)
        masked = {name: (p, m) for name, (p, m) in ready.items() if m is not None}
        return replace(from_photographs(masked, canvas=canvas), category=labels)


@dataclass(frozen=True, eq=False)
class Rendered:
    """Images at some scales, and nothing else of them.

    Attributes
    ----------
    images
        (N, 3, S, S) in 0…1, by scale.
    areas
        (N,) what `skviz.scenes.source.areas` says of each.
    content
        (N,) uint64, what `Pictures.content` says of each.
    """

    images: dict[float, Tensor]
    areas: Tensor
    content: np.ndarray

    def __len__(self) -> int:
        return len(self.areas)

    def render(self, scale: float) -> Tensor:
        """Return the images at a scale."""
        return self.images[scale]


def as_bytes(picture: Any, mode: str) -> Tensor:
    """Turn a PIL picture, or a tensor (C, H, W) in 0…255 or 0…1, into uint8 (C, H, W).

    Raises
    ------
    DataError
        If its type, its channels, or the range of its values is another.
    """
    if isinstance(picture, Image.Image):
        array = np.array(eight_bits(picture, "white" if mode == "RGB" else "black").convert(mode))
        return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)
    if not isinstance(picture, Tensor) or picture.ndim != 3 or len(picture) not in (1, len(mode)):
        shape = f" {tuple(picture.shape)}" if isinstance(picture, Tensor) else ""
        raise DataError(
            f"expected a picture or a tensor ({len(mode)}, H, W), got "
            f"{type(picture).__name__}{shape}"
        )
    picture = picture.expand(len(mode), -1, -1)
    if picture.dtype == torch.uint8:
        return picture
    if not 0 <= float(picture.min()) <= float(picture.max()) <= 1:
        raise DataError("the values are not in 0…1; give the dataset without normalisation")
    return (picture * 255).round().byte()


def eight_bits(picture: Image.Image, behind: str) -> Image.Image:
    """Return a picture with 8 bits per channel, and a colour behind it where it is transparent."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.array(picture, np.uint16) / 257).round().astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise DataError(f"a picture of mode {picture.mode!r} has no known range; save it as 8 bits")
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, behind), picture)


def opened(path: Path) -> Image.Image:
    """Decode a file, turned as its EXIF data say.

    Raises
    ------
    DataError
        If the image has more pixels than Pillow takes for safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    with Image.open(path) as picture:
        width, height = picture.size
        if Image.MAX_IMAGE_PIXELS and width * height > Image.MAX_IMAGE_PIXELS:
            raise DataError(
                f"{width}×{height} pixels, more than {Image.MAX_IMAGE_PIXELS}: it may be a "
                "decompression bomb"
            )
        return ImageOps.exif_transpose(picture)


def pictures(found: Pictures, protocol: str, canvas: int) -> Pictures:
    """Check the protocol, and say how scenes are made."""
    if protocol not in ("zoom", "rescale"):
        raise SceneError(f"protocol must be 'zoom' or 'rescale', got {protocol!r}")
    if len(found.category) != len(found):
        raise DataError(f"{len(found)} images need as many categories, got {len(found.category)}")
    if len(set(found.ids)) != len(found.ids) or not found.ids:
        raise DataError("a data set needs at least one image, and no name twice")
    return replace(found, attrs={"protocol": protocol, "canvas": canvas})


def from_folder(folder: str | Path, *, protocol: str = "zoom", canvas: int = 96) -> Pictures:
    """Make scenes of a folder with one sub-folder of images for each class.

    Parameters
    ----------
    folder
        Holds ``class/image.jpg``. With ``class/image.mask.png`` beside it (white where the object
        is), the object can be cut out.
    protocol
        ``"zoom"`` enlarges the centre of each image (scales from 1), ``"rescale"`` cuts its object
        out and puts it back at any scale at which it stays on the canvas.
    canvas
        Side of the scenes in pixels.

    Raises
    ------
    DataError
        If there is no image.
    SceneError
        If there is no such protocol.
    """
    folder = Path(folder)
    files = sorted(
        path
        for path in folder.glob("*/*")
        if path.suffix.lower() in ENDINGS and not path.name.endswith(".mask.png")
    )
    if not files:
        raise DataError(f"{folder} holds no sub-folder with images; make one for each class")
    masks = [path.with_suffix(".mask.png") for path in files]

    def read(place: int) -> tuple[Any, Any]:
        mask = masks[place]
        return opened(files[place]), opened(mask) if mask.exists() else None

    def raw(place: int) -> bytes:
        mask = masks[place]
        return files[place].read_bytes() + (mask.read_bytes() if mask.exists() else b"")

    category = tuple(path.parent.name for path in files)
    ids = tuple(path.relative_to(folder).as_posix() for path in files)
    found = Pictures(read, raw, category, ids, range(len(ids)), threads=READERS)
    return pictures(found, protocol, canvas)


def from_dataset(
    dataset: Any,
    *,
    category: Iterable[str] | None = None,
    protocol: str = "zoom",
    canvas: int = 96,
) -> Pictures:
    """Make scenes of a map-style dataset, such as torchvision's.

    Parameters
    ----------
    dataset
        CIFAR-10, ImageFolder, ImageNet and whatever has `targets` and `classes`; Oxford-IIIT Pet,
        VOC segmentation and COCO instances bring masks along. Or a `Subset` of one.
    category
        One for each image, for a dataset that does not tell.
    protocol, canvas
        As for `from_folder`. Without masks, only ``"zoom"``.

    Raises
    ------
    DataError
        If the dataset is empty, or its classes are unknown.
    SceneError
        If there is no such protocol.
    """
    from skviz.scenes.datasets import listed

    return pictures(listed(dataset, category), protocol, canvas)
