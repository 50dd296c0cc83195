"""Data sets as scenes: a folder of images, or any map-style dataset of torchvision.

Nothing is read until a part of them is needed, so memory does not grow with the data set.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
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

__all__ = ["Pictures", "from_dataset", "from_folder"]

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
Read = Callable[[int], tuple[Any, Any]]
Pair = tuple[Tensor, Tensor | None]  # picture and mask


@dataclass(frozen=True, eq=False)
class Pictures:
    """Images that are read when a part of them is put on a device.

    Attributes
    ----------
    read
        Gives image i as a PIL picture or a tensor (C, H, W), and its mask likewise or None.
    places
        What `read` is called with, for each of the N images.
    category, ids
        N names.
    attrs
        How the scenes are made: ``protocol`` and ``canvas``, and ``source_sha256``.
    """

    read: Read
    places: Sequence[int]
    category: tuple[str, ...]
    ids: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice, /) -> Self:
        cut = {name: getattr(self, name)[part] for name in ("places", "category", "ids")}
        return replace(self, **cut)

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
        self, device: torch.device | str, *, skip: bool = False
    ) -> tuple[Scenes | Zoom | None, dict[int, str]]:
        """Read all of them; with `skip`, leave out those that cannot be read, and say why.

        Returns
        -------
        tuple
            The scenes (None if none is left), and what is wrong, by place.

        Raises
        ------
        DataError
            Without `skip`, at the first image that cannot be read, with its name.
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

        for index, place in enumerate(self.places):
            found = attempt(index, self.picture, place)
            if found is not None:
                ready[self.ids[index]] = found
        try:
            made = self.scenes(ready) if ready else None
        except SceneError:  # of which image?
            for index, name in enumerate(self.ids):
                one = {name: ready[name]} if name in ready else {}
                if one and attempt(index, self.scenes, one) is None:
                    del ready[name]
            made = self.scenes(ready) if ready else None
        return (None if made is None else made.to(device)), problems

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


@dataclass(frozen=True)
class Items:
    """What a data set holds, before anything of it is read."""

    read: Read
    category: tuple[str, ...]
    ids: tuple[str, ...]
    files: tuple[Path, ...] = ()
    content: np.ndarray | None = None

    def sha256(self) -> str:
        """Hash names, categories, and values or else the sizes of the files."""
        digest = hashlib.sha256(repr((self.ids, self.category)).encode())
        if self.content is not None:
            digest.update(self.content.tobytes())
        sizes = [path.stat().st_size if path.exists() else None for path in self.files]
        digest.update(repr(sizes).encode())
        return digest.hexdigest()

    def take(self, places: Sequence[int]) -> "Items":
        """Return the items at these places."""
        return Items(
            lambda i: self.read(places[i]),
            tuple(self.category[i] for i in places),
            tuple(self.ids[i] for i in places),
            tuple(self.files[i] for i in places) if self.files else (),
            None if self.content is None else self.content[list(places)],
        )


def opened(path: Path) -> Image.Image:
    """Decode a file; an image that is too large for Pillow is refused by it."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def folder_items(folder: Path) -> Items:
    """List ``class/image.jpg``, with ``class/image.mask.png`` beside it or not."""
    files = sorted(
        path
        for path in folder.glob("*/*")
        if path.suffix.lower() in ENDINGS and not path.name.endswith(".mask.png")
    )
    if not files:
        raise DataError(f"{folder} holds no sub-folder with images; make one for each class")

    def read(place: int) -> tuple[Any, Any]:
        mask = files[place].with_suffix(".mask.png")
        return opened(files[place]), opened(mask) if mask.exists() else None

    ids = tuple(path.relative_to(folder).as_posix() for path in files)
    return Items(read, tuple(path.parent.name for path in files), ids, tuple(files))


def pet_items(dataset: Any) -> Items:
    """Oxford-IIIT Pet: the mask is the animal and its border (the trimap's 1 and 3)."""

    def read(place: int) -> tuple[Any, Any]:
        trimap = as_bytes(opened(dataset._segs[place]), "L")
        return opened(dataset._images[place]), (trimap != 2).byte() * 255

    category = tuple(dataset.classes[label] for label in dataset._labels)
    files = tuple(map(Path, dataset._images))
    return Items(read, category, tuple(path.stem for path in files), files)


def voc_items(dataset: Any) -> Items:
    """VOC segmentation: the class that covers most, and its pixels."""

    def classes(place: int) -> np.ndarray:
        return np.array(opened(dataset.masks[place]))  # a palette: 0 background, 255 border

    def largest(values: np.ndarray) -> int:
        return int(np.bincount(values.ravel(), minlength=21)[1:21].argmax()) + 1

    def read(place: int) -> tuple[Any, Any]:
        values = classes(place)
        mask = torch.from_numpy(values == largest(values))[None].byte() * 255
        return opened(dataset.images[place]), mask

    category = tuple(VOC[largest(classes(place)) - 1] for place in range(len(dataset)))
    files = tuple(map(Path, dataset.images))
    return Items(read, category, tuple(path.stem for path in files), files)


def coco_items(dataset: Any) -> Items:
    """COCO: the largest instance of each image; an image without any is left out."""
    chosen = {}
    for image in dataset.ids:
        instances = [a for a in dataset._load_target(image) if not a.get("iscrowd")]
        if instances:
            chosen[image] = max(instances, key=lambda a: a["area"])
    files = [Path(dataset.root) / dataset.coco.loadImgs(i)[0]["file_name"] for i in chosen]
    instances = list(chosen.values())

    def read(place: int) -> tuple[Any, Any]:
        mask = torch.from_numpy(dataset.coco.annToMask(instances[place]))[None] * 255
        return opened(files[place]), mask

    category = tuple(dataset.coco.cats[a["category_id"]]["name"] for a in instances)
    return Items(read, category, tuple(path.stem for path in files), tuple(files))


def labelled_items(dataset: Any) -> Items:
    """Any data set with `targets` and `classes`, such as CIFAR-10, ImageFolder and ImageNet."""
    try:
        category = tuple(str(dataset.classes[target]) for target in dataset.targets)
    except (AttributeError, TypeError, IndexError) as error:
        raise DataError(
            f"{type(dataset).__name__} does not tell the classes of its images (`targets` and "
            "`classes`); give `category`, one name for each"
        ) from error
    return unlabelled_items(dataset, category)


def unlabelled_items(dataset: Any, category: tuple[str, ...]) -> Items:
    """Any map-style data set whose items are images, or begin with one."""

    def read(place: int) -> tuple[Any, Any]:
        item = dataset[place]
        return (item[0] if isinstance(item, tuple | list) else item), None

    files = [Path(sample[0]) for sample in getattr(dataset, "samples", [])]
    if files:
        ids = tuple(path.relative_to(dataset.root).as_posix() for path in files)
    else:
        ids = tuple(f"{place:06d}" for place in range(len(dataset)))
    content = getattr(dataset, "data", None)
    return Items(
        read, category, ids, tuple(files), content if isinstance(content, np.ndarray) else None
    )


def items(dataset: Any, category: Iterable[str] | None) -> Items:
    """List what a data set holds."""
    from torch.utils.data import Subset
    from torchvision import datasets

    if isinstance(dataset, Subset):
        whole = items(dataset.dataset, category)
        return whole.take(list(dataset.indices))
    if category is not None:
        return unlabelled_items(dataset, tuple(category))
    kinds: dict[type, Callable[[Any], Items]] = {
        datasets.OxfordIIITPet: pet_items,
        datasets.VOCSegmentation: voc_items,
        datasets.CocoDetection: coco_items,
    }
    known = [make for kind, make in kinds.items() if isinstance(dataset, kind)]
    return (known or [labelled_items])[0](dataset)


def pictures(found: Items, protocol: str, canvas: int) -> Pictures:
    """Check the protocol and make the source."""
    if protocol not in ("zoom", "rescale"):
        raise SceneError(f"protocol must be 'zoom' or 'rescale', got {protocol!r}")
    if len(set(found.ids)) != len(found.ids) or not found.ids:
        raise DataError("a data set needs at least one image, and no name twice")
    attrs = {"protocol": protocol, "canvas": canvas, "source_sha256": found.sha256()}
    return Pictures(found.read, range(len(found.ids)), found.category, found.ids, attrs)


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
    return pictures(folder_items(Path(folder)), protocol, canvas)


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
    return pictures(items(dataset, category), protocol, canvas)
