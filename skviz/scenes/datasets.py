"""What torchvision's data sets hold: images, masks, categories, names, and their bytes."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Subset
from torchvision import datasets

from skviz.errors import DataError
from skviz.scenes.pictures import as_picture, opened
from skviz.scenes.reading import READERS, Reader

Listed = tuple[Reader, tuple[str, ...]]
Places = tuple[int, ...]
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def stems(files: Iterable[Path]) -> tuple[str, ...]:
    """Name pictures as their files."""
    return tuple(path.stem for path in files)


def pet(dataset: Any) -> Listed:
    """Oxford-IIIT Pet: the mask is the animal and its border (the trimap's 1 and 3)."""
    files, trimaps = list(map(Path, dataset._images)), list(map(Path, dataset._segs))

    def seen(trimap: Path) -> np.ndarray:
        return np.array(opened(trimap).convert("L")) != 2

    category = tuple(dataset.classes[label] for label in dataset._labels)
    return Reader.of_files(files, trimaps, stems(files), seen), category


def voc(dataset: Any) -> Listed:
    """VOC segmentation: the class that covers most, and its pixels."""
    files, masks = list(map(Path, dataset.images)), list(map(Path, dataset.masks))

    def classes(mask: Path) -> np.ndarray:
        return np.array(opened(mask))  # a palette: 0 background, 255 border

    def largest(values: np.ndarray) -> int:
        return int(np.bincount(values.ravel(), minlength=21)[1:21].argmax()) + 1

    def seen(mask: Path) -> np.ndarray:
        values = classes(mask)
        return values == largest(values)

    category = tuple(VOC[largest(classes(mask)) - 1] for mask in masks)
    return Reader.of_files(files, masks, stems(files), seen), category


def coco(dataset: Any) -> Listed:
    """COCO: the largest instance of each image; an image without any is left out."""
    chosen = {}
    for image in dataset.ids:
        instances = [a for a in dataset._load_target(image) if not a.get("iscrowd")]
        if instances:
            chosen[image] = max(instances, key=lambda a: a["area"])
    files = [Path(dataset.root) / dataset.coco.loadImgs(i)[0]["file_name"] for i in chosen]
    instances = list(chosen.values())

    def read(place: int) -> tuple[Any, Any]:
        return opened(files[place]), dataset.coco.annToMask(instances[place])

    def raw(place: int) -> bytes:
        return files[place].read_bytes() + json.dumps(instances[place]["segmentation"]).encode()

    category = tuple(dataset.coco.cats[a["category_id"]]["name"] for a in instances)
    return Reader(read, raw, stems(files), READERS), category


def labelled(dataset: Any) -> Listed:
    """Any data set with `targets` and `classes`, such as CIFAR-10, ImageFolder and ImageNet."""
    try:
        category = tuple(str(dataset.classes[target]) for target in dataset.targets)
    except (AttributeError, TypeError, IndexError) as error:
        raise DataError(
            f"{type(dataset).__name__} does not tell the classes of its images (`targets` and "
            "`classes`); give `category`, one name for each"
        ) from error
    return unlabelled(dataset, category)


def unlabelled(dataset: Any, category: tuple[str, ...]) -> Listed:
    """Any map-style data set whose items are images, or begin with one."""
    files = [Path(sample[0]) for sample in getattr(dataset, "samples", [])]
    content = getattr(dataset, "data", None)
    changed = getattr(dataset, "transforms", None) or getattr(dataset, "transform", None)

    def read(place: int) -> tuple[Any, Any]:
        item = dataset[place]
        return (item[0] if isinstance(item, tuple | list) else item), None

    def raw(place: int) -> bytes:
        if files and not changed:
            return files[place].read_bytes()
        if isinstance(content, np.ndarray) and not changed:
            return content[place].tobytes()
        return as_picture(read(place)[0]).numpy().tobytes()

    if files:
        ids = tuple(path.relative_to(dataset.root).as_posix() for path in files)
    else:
        ids = tuple(f"{place:06d}" for place in range(len(dataset)))
    # Nothing is known of what a dataset does in several threads; those of files only open files.
    return Reader(read, raw, ids, READERS if files else 1), category


KNOWN: dict[type, Callable[[Any], Listed]] = {
    datasets.OxfordIIITPet: pet,
    datasets.VOCSegmentation: voc,
    datasets.CocoDetection: coco,
}


def listed(dataset: Any, *, named: bool) -> tuple[Reader, tuple[str, ...], Places]:
    """List what a data set holds: how it is read, which of it is meant, and if named categories."""
    if isinstance(dataset, Subset):
        base: Any = dataset.dataset
        reader, names, inside = listed(base, named=named)
        some = [int(index) for index in dataset.indices]
        return reader, tuple(names[i] for i in some), tuple(inside[i] for i in some)
    known = [make for kind, make in KNOWN.items() if isinstance(dataset, kind)]
    if named:
        reader, names = (known or [labelled])[0](dataset)
    else:
        reader, names = unlabelled(dataset, ("",) * len(dataset))
    return reader, names, tuple(range(len(reader.names)))
