"""Data sets as scenes: a folder of images, or any map-style dataset of torchvision.

Nothing is read until a part of them is needed, so memory does not grow with the data set.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from skviz.errors import DataError, SceneError
from skviz.scenes.cutouts import known
from skviz.scenes.made import step
from skviz.scenes.photographs import Zoom, from_photographs, zoom
from skviz.scenes.pictures import as_mask, as_picture, opened
from skviz.scenes.source import Scenes, areas

__all__ = ["READERS", "Pictures", "Rendered", "from_dataset", "from_folder"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
IMAGES, MASKS = ("images", "image"), ("masks", "mask")  # folders that are no classes
MASK = re.compile(r"[._-]mask$")  # ends the stem of a mask that lies beside its image
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

    def where(self, *, category: Iterable[str] | None = None) -> Self:
        """Return the images of these categories, or raise `DataError` if there is none."""
        if category is None:
            return self
        category = [category] if isinstance(category, str) else list(category)
        chosen = known(category, self.category, "category")
        some = self.take([i for i, name in enumerate(self.category) if name in chosen])
        call = step("where", category=category)
        return replace(some, attrs=self.attrs | {"made": [*self.attrs["made"], call]})

    @property
    def content(self) -> np.ndarray:
        """(N,) uint64, what `content_at` says of each; all of them are read."""
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(self.named(self.content_at), range(len(self)))
            return np.array(list(found), np.uint64)

    def content_at(self, index: int) -> int:
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
            return [scene.render(scale) for scale in scales], areas(scene), self.content_at(index)

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
        """Read one image, (3, H, W) in 0…1, and its mask, (1, H, W)."""
        picture, mask = self.read(self.places[index])
        if self.attrs["protocol"] == "rescale" and mask is None:
            raise DataError("protocol 'rescale' needs a mask of the object")
        return as_picture(picture), None if mask is None else as_mask(mask)

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


def pictures(found: Pictures, protocol: str, canvas: int, call: dict[str, Any]) -> Pictures:
    """Check the protocol, and say how scenes are made."""
    if protocol not in ("zoom", "rescale"):
        raise SceneError(f"protocol must be 'zoom' or 'rescale', got {protocol!r}")
    if len(found.category) != len(found):
        raise DataError(f"{len(found)} images need as many categories, got {len(found.category)}")
    if len(set(found.ids)) != len(found.ids) or not found.ids:
        raise DataError("a data set needs at least one image, and no name twice")
    made = [call | {"protocol": protocol, "canvas": canvas}]
    return replace(found, attrs={"protocol": protocol, "canvas": canvas, "made": made})


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder's sub-folders, or where there are none its own."""
    found = [path for path in (*folder.glob("*/*"), *folder.glob("*")) if path.is_file()]
    return sorted(path for path in found if path.suffix.lower() in ENDINGS)


def layout(folder: Path) -> tuple[Path, Path] | None:
    """Return where images and masks lie, if a folder keeps them apart.

    Raises
    ------
    DataError
        If it keeps something apart that could be a class as well.
    """
    names = {path.name for path in folder.glob("*/")}
    telling = names & {*IMAGES, *MASKS}
    if not telling:
        return None
    images, masks = ([name for name in kind if name in names] for kind in (IMAGES, MASKS))
    if len(images) != 1 or len(masks) != 1 or len(names) > 2:
        raise DataError(
            f"{folder} holds {sorted(names)}: expected images/ and masks/ and nothing else, or one "
            f"sub-folder for each class, none of them called {sorted(telling)[0]!r}"
        )
    return folder / images[0], folder / masks[0]


def pairs(folder: Path) -> tuple[list[Path], list[Path | None]]:
    """List the images of a folder, and the mask of each."""
    parts = layout(folder)
    if parts is None:
        found = {path.relative_to(folder).with_suffix(""): path for path in images_in(folder)}
        ending = {stem: MASK.search(stem.name) for stem in found}
        there = {
            stem.with_name(stem.name[: end.start()]): found[stem]
            for stem, end in ending.items()
            if end
        }
        files = [path for path in images_in(folder) if not MASK.search(path.stem)]
    else:
        files = images_in(parts[0])
        there = {path.relative_to(parts[1]).with_suffix(""): path for path in images_in(parts[1])}
    root = parts[0] if parts else folder
    stems = [path.relative_to(root).with_suffix("") for path in files]
    alone = there.keys() - set(stems)
    if alone:
        raise DataError(f"{there[min(alone)]} is the mask of no image; remove or rename it")
    if not files:
        raise DataError(f"{folder} holds no images; make a sub-folder for each class")
    return files, [there.get(stem) for stem in stems]


def from_folder(folder: str | Path, *, protocol: str = "zoom", canvas: int = 96) -> Pictures:
    """Make scenes of a folder of images, with one sub-folder for each class if there are classes.

    Parameters
    ----------
    folder
        Holds ``class/image.jpg`` or ``image.jpg``. Where there are masks, the object can be cut
        out: ``image.mask.png`` beside it, or ``images/…`` and ``masks/…`` with the same
        names in both. An image without a class is its own category.
    protocol
        ``"zoom"`` enlarges the centre of each image (scales from 1), ``"rescale"`` cuts its object
        out and puts it back at any scale at which it stays on the canvas.
    canvas
        Side of the scenes in pixels.

    Raises
    ------
    DataError
        If there is no image, a mask without one, or it is not clear what is a class.
    SceneError
        If there is no such protocol.
    """
    folder = Path(folder)
    files, masks = pairs(folder)

    def read(place: int) -> tuple[Any, Any]:
        mask = masks[place]
        return opened(files[place]), None if mask is None else opened(mask)

    def raw(place: int) -> bytes:
        mask = masks[place]
        return files[place].read_bytes() + (b"" if mask is None else mask.read_bytes())

    root = folder if (parts := layout(folder)) is None else parts[0]
    ids = tuple(path.relative_to(root).as_posix() for path in files)
    category = tuple(path.parent.name if path.parent != root else path.stem for path in files)
    found = Pictures(read, raw, category, ids, range(len(ids)), threads=READERS)
    return pictures(found, protocol, canvas, step("skviz.from_folder", folder=folder))


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

    call = step("skviz.from_dataset", dataset=type(dataset).__name__)
    return pictures(listed(dataset, category), protocol, canvas, call)
