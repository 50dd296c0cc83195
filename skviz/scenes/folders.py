"""What a folder of images holds: files, masks, classes."""

import re
from pathlib import Path

from skviz.errors import DataError
from skviz.scenes.reading import Reader

ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
IMAGES, MASKS = ("images", "image"), ("masks", "mask")  # folders that are no classes
MASK = re.compile(r"[._-]mask$", re.IGNORECASE)  # ends the stem of a mask beside its image


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


def pairs(folder: Path, masks: Path | None) -> tuple[list[Path], list[Path | None], Path]:
    """List the images of a folder, the mask of each, and the folder below which images lie."""
    parts = layout(folder) if masks is None else (folder, masks)
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
    return files, [there.get(stem) for stem in stems], root


def in_folder(folder: Path, masks: Path | None = None) -> tuple[Reader, tuple[str, ...]]:
    """List the images of a folder, and their categories.

    Parameters
    ----------
    folder
        Holds ``class/image.jpg`` or ``image.jpg``. Masks are ``image.mask.png`` beside it, or
        ``images/…`` and ``masks/…`` with the same names in both. An image without a class is its
        own category.
    masks
        Another folder where they are, with the same names.

    Raises
    ------
    DataError
        If there is no image, a mask without one, or it is not clear what is a class.
    """
    files, found, root = pairs(folder, masks)

    ids = tuple(path.relative_to(root).as_posix() for path in files)
    category = tuple(path.parent.name if path.parent != root else path.stem for path in files)
    return Reader.of_files(files, found, ids), category
