"""``photographs``: the one entrance for pictures, to be zoomed or to have their objects cut out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from skviz.assets import names_in, read_bytes, read_image
from skviz.errors import DataError, Side, entrance
from skviz.scenes.chosen import Listed
from skviz.scenes.folders import in_folder
from skviz.scenes.made import step
from skviz.scenes.pictures import as_mask, as_picture
from skviz.scenes.reading import Files, Reader
from skviz.scenes.source import CANVAS, Scenes

FAMILY = "photographs"
ONE = (str, os.PathLike, np.ndarray, Tensor, Image.Image)  # types that a single picture may have


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Photographs(Listed):
    """Pictures with their names, read when they are needed; made by `photographs`.

    Attributes
    ----------
    reader
        How they are read.
    ids, category, family, made, places
        See `skviz.scenes.chosen.Listed`.
    """

    reader: Reader

    @property
    def pictures(self) -> tuple[Tensor, ...]:
        """The pictures, (3, H, W) in 0…1 each."""
        read = self.reader.read
        return tuple(self.reader.all(lambda place: as_picture(read(place)[0]), self.places))

    @property
    def masks(self) -> tuple[Tensor | None, ...]:
        """Where the object is in each, (1, H, W) in 0…1, or None if that is not known."""

        def mask(place: int) -> Tensor | None:
            found = self.reader.read(place)[1]
            return None if found is None else as_mask(found)

        return tuple(self.reader.all(mask, self.places))

    @entrance
    def shown(self, *, canvas: Side = CANVAS) -> Scenes:
        """Cut out the objects, if there is a mask for the first; else zoom."""
        first = self.reader.read(self.places[0])[1] if len(self) else None
        return self.zoom(canvas=canvas) if first is None else self.cut_out(canvas=canvas)

    @entrance
    def zoom(self, *, canvas: Side = CANVAS) -> Scenes:
        """Enlarge the centre of each: the paper's protocol (section 4.4, figure 3).

        Parameters
        ----------
        canvas
            Side of the scenes in pixels. At scale 1 the whole central square is seen.
        """
        return self._scenes("zoom", canvas)

    @entrance
    def cut_out(self, *, canvas: Side = CANVAS) -> Scenes:
        """Cut the masked object out of each, to return to the filled picture at any scale.

        At scale 1 the object has its own size and place. What is wrong with a mask is said when
        it is read.

        Parameters
        ----------
        canvas
            Side of the scenes in pixels. The largest square about the object is shown.
        """
        return self._scenes("rescale", canvas)

    def _scenes(self, protocol: str, canvas: int) -> Scenes:
        call = step({"zoom": "zoom", "rescale": "cut_out"}[protocol], canvas=canvas)
        return Scenes(
            source=Files(self.reader, protocol, canvas),
            ids=self.ids,
            category=self.category,
            family=self.family,
            protocol=protocol,
            canvas=canvas,
            made=(*self.made, call),
            places=self.places,
        )


@entrance
def photographs(
    source: Any = None, *, masks: Any = None, category: str | Iterable[str] | None = None
) -> Photographs:
    """Take pictures from wherever they are.

    Parameters
    ----------
    source
        A folder with ``class/image.jpg`` or ``image.jpg`` (masks: ``image.mask.png`` beside it, or
        ``images/…`` and ``masks/…`` with the same names in both); a picture as
        `skviz.scenes.pictures` takes it (beside a file ``x.jpg`` its mask ``x.mask.png``), several
        in a list, a tensor (N, 3, H, W), or by name in a mapping, each also as a pair with its
        mask; or a map-style data set (CIFAR-10, ImageFolder, ImageNet and whatever has `targets`
        and `classes`; Oxford-IIIT Pet, VOC segmentation and COCO instances bring masks along), or
        a `Subset` of one. By default the four that ship, with masks.
    masks
        Where the object is: one mask, several, or by name, as the pictures; of a folder, another
        one with the same names.
    category
        What is shown: one for all, or one for each. By default what the folder or data set says,
        and otherwise the name of each.

    Returns
    -------
    Photographs
        Its ``.zoom()`` and ``.cut_out()`` are scenes.

    Raises
    ------
    DataError
        If there is none, or they are in no form that can be read.

    Examples
    --------
    >>> import skviz
    >>> skviz.photographs().where(category="coffee").zoom()
    <Scenes: 1, coffee>
    """
    found = listed(source, masks, named=category is None)
    if not len(found):
        raise DataError("there is no picture; give at least one")
    if len(set(found.ids)) != len(found.ids):
        raise DataError("a name is there twice; give each picture a name of its own")
    if category is None:
        return found
    labels = (category,) * len(found) if isinstance(category, str) else tuple(category)
    if len(labels) != len(found):
        raise DataError(f"{len(found)} pictures need as many categories, got {len(labels)}")
    return replace(found, category=labels)


def listed(source: Any, masks: Any, *, named: bool) -> Photographs:
    """List pictures, wherever they are."""
    if isinstance(source, Photographs) or source is None:
        if masks is not None:
            raise DataError("these photographs have their masks already; leave masks= out")
        return shipped() if source is None else source
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        reader, names = in_folder(Path(source), None if masks is None else Path(masks))
        return labelled(reader, names, step("skviz.photographs", source=Path(source)))
    if isinstance(source, Mapping):
        return given(source, masks)
    if isinstance(source, ONE):
        if getattr(source, "ndim", 0) == 4:
            return numbered(source, masks)
        name = "picture"
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            beside = (path.with_name(f"{path.stem}{sign}mask.png") for sign in "._-")
            name = path.stem
            masks = next(filter(Path.is_file, beside), None) if masks is None else masks
        return given({name: source}, {name: masks})
    if isinstance(source, list | tuple):
        return numbered(source, masks)
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return in_dataset(source, masks, named=named)
    raise DataError(
        "expected a folder, a picture, several in a list or by name, or a data set, got "
        f"{type(source).__name__}"
    )


def labelled(
    reader: Reader, category: tuple[str, ...], call: dict[str, Any], places: Any = None
) -> Photographs:
    """Name what a reader reads."""
    places = tuple(range(len(reader.names))) if places is None else places
    ids = tuple(reader.names[place] for place in places)
    family = (FAMILY,) * len(ids)
    return Photographs(
        reader=reader, ids=ids, category=category, family=family, made=(call,), places=places
    )


def numbered(source: Any, masks: Any) -> Photographs:
    """Name pictures by their numbers."""
    if masks is not None and len(masks) != len(source):
        raise DataError(f"{len(source)} pictures need as many masks, got {len(masks)}")
    names = [f"{number:06d}" for number in range(len(source))]
    return given(
        dict(zip(names, source, strict=True)),
        None if masks is None else dict(zip(names, masks, strict=True)),
    )


def given(pictures: Mapping[str, Any], masks: Mapping[str, Any] | None) -> Photographs:
    """Take pictures by name, each alone or with its mask."""
    if masks is not None and (not isinstance(masks, Mapping) or set(masks) - set(pictures)):
        raise DataError("masks= of pictures by name are a mapping with the same names")
    names = tuple(map(str, pictures))
    pairs = [
        each if isinstance(each, tuple) and len(each) == 2 else (each, (masks or {}).get(name))
        for name, each in pictures.items()
    ]

    def read(place: int) -> tuple[Any, Any]:
        return pairs[place]

    def raw(place: int) -> bytes:
        picture, mask = pairs[place]
        return as_picture(picture).numpy().tobytes() + (
            b"" if mask is None else as_mask(mask).numpy().tobytes()
        )

    call = step("skviz.photographs", source=names)
    return labelled(Reader(read, raw, names), names, call)


def in_dataset(source: Any, masks: Any, *, named: bool) -> Photographs:
    """Take the pictures of a data set."""
    from skviz.scenes import datasets  # torchvision's, which take a second to import

    if masks is not None:
        raise DataError("masks= is for pictures and folders; a data set brings its own")
    reader, names, places = datasets.listed(source, named=named)
    call = step("skviz.photographs", source=type(source).__name__)
    return labelled(reader, names, call, places)


def shipped() -> Photographs:
    """Return the photographs that ship, with their masks."""
    masks = names_in("photos", ".mask.png")
    stems = [mask.removesuffix(".mask.png") for mask in masks]
    files = [
        next(name for name in names_in("photos") if name.startswith(f"{stem}.") and name != mask)
        for stem, mask in zip(stems, masks, strict=True)
    ]
    names = tuple(Path(stem).name for stem in stems)

    def read(place: int) -> tuple[Any, Any]:
        return read_image(files[place], "RGB"), read_image(masks[place], "L")

    def raw(place: int) -> bytes:
        return read_bytes(files[place]) + read_bytes(masks[place])

    return labelled(Reader(read, raw, names), names, step("skviz.photographs"))
