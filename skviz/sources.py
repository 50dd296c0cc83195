"""Data sets as scenes: a folder of images, or any map-style dataset of torchvision.

Nothing is read until a part of them is needed, so memory does not grow with the data set.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from skviz.errors import DataError, SceneError
from skviz.photo_scenes import Zoom, from_photographs, zoom
from skviz.scenes import Scenes

__all__ = ["READERS", "Pictures", "as_bytes", "from_dataset", "from_folder", "opened"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
READERS = min(16, os.cpu_count() or 1)  # threads that decode files
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

    def sha256(self) -> str:
        """Read all of them, and hash names, categories and contents; what is missing is empty."""
        digest = hashlib.sha256(repr((self.ids, self.category)).encode())
        for place in self.places:
            try:
                digest.update(hashlib.sha256(self.raw(place)).digest())
            except OSError:
                digest.update(b"missing")
        return digest.hexdigest()

    def to(self, device: torch.device | str) -> Scenes | Zoom:
        """Read all of them, onto `device`."""
        scenes, _ = self.loaded(device)
        assert scenes is not None
        return scenes

    def render(self, scale: float) -> Tensor:
        """Read and render all of them: (N, 3, S, S) in 0…1."""
        return self.to("cpu").render(scale)

    def coverage(self, scale: float) -> Tensor | None:
        """Read all of them; how much of each pixel is object, (N, S, S), or None without masks."""
        return self.to("cpu").coverage(scale)

    def loaded(
        self, device: torch.device | str, *, scales: Sequence[float] = (), skip: bool = False
    ) -> tuple[Scenes | Zoom | None, dict[int, str]]:
        """Read all of them; with `skip`, leave out those that cannot be shown, and say why.

        Parameters
        ----------
        device
            Where they are rendered.
        scales
            At which each must be able to be rendered.
        skip
            Go on without those that cannot be read or rendered.

        Returns
        -------
        tuple
            The scenes (None if none is left), and what is wrong, by place.

        Raises
        ------
        DataError
            Without `skip`, at the first image that cannot be shown, with its name.
        """
        ready: dict[str, Pair] = {}
        problems: dict[int, str] = {}

        def attempt(index: int, action: Callable[..., Any], *arguments: Any) -> Any:
            try:
                return action(*arguments)
            except Exception as error:  # whatever a decoder or a dataset may raise
                problems[index] = f"{type(error).__name__}: {error}"
                if skip:
                    return None
                raise DataError(
                    f"image {self.ids[index]!r} cannot be used ({problems[index]}); mend it, or "
                    "give on_error='skip'"
                ) from error

        def scenes(ready: dict[str, Pair]) -> Scenes | Zoom | None:
            if not ready:
                return None
            made = self.scenes(ready).to(device)
            for scale in scales:
                made.check(scale)
            return made

        with ThreadPoolExecutor(self.threads) as pool:  # decoders let go of Python's lock
            reading = [pool.submit(self.picture, place) for place in self.places]
        for index, future in enumerate(reading):
            found = attempt(index, future.result)
            if found is not None:
                ready[self.ids[index]] = found
        try:
            return scenes(ready), problems
        except SceneError:  # of which image?
            for index, name in enumerate(self.ids):
                if name in ready and attempt(index, scenes, {name: ready[name]}) is None:
                    del ready[name]
            return scenes(ready), problems

    def picture(self, place: int) -> Pair:
        """Read one image, uint8 (3, H, W), and its mask, uint8 (1, H, W)."""
        picture, mask = self.read(place)
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


def as_bytes(picture: Any, mode: str) -> Tensor:
    """Turn a PIL picture, or a tensor (C, H, W) in 0…255 or 0…1, into uint8 (C, H, W)."""
    if isinstance(picture, Image.Image):
        array = np.array(picture.convert(mode))
        return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1)
    if not isinstance(picture, Tensor) or picture.shape[0] != len(mode):
        raise DataError(f"expected a picture or a tensor (C, H, W), got {type(picture).__name__}")
    if picture.dtype == torch.uint8:
        return picture
    if not 0 <= float(picture.min()) <= float(picture.max()) <= 1:
        raise DataError("the values are not in 0…1; give the dataset without normalisation")
    return (picture * 255).round().byte()


def opened(path: Path) -> Image.Image:
    """Decode a file; an image that is too large for Pillow is refused by it."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def pictures(found: Pictures, protocol: str, canvas: int) -> Pictures:
    """Check the protocol, and say how scenes are made."""
    if protocol not in ("zoom", "rescale"):
        raise SceneError(f"protocol must be 'zoom' or 'rescale', got {protocol!r}")
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
    from skviz.datasets import listed

    return pictures(listed(dataset, category), protocol, canvas)
