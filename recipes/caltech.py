"""Caltech-101: 100 categories of photographs, split into training and test by their numbers.

Li, Andreetto, Ranzato and Perona (2022), CaltechDATA, doi 10.22002/D1.20086, CC BY 4.0. The folder
is laid out as `torchvision.datasets.Caltech101` has it. ``BACKGROUND_Google`` is no category, and
``Faces_easy`` is ``Faces`` cropped, so both are left out.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from skviz.errors import DataError
from skviz.scenes.cutouts import Objects
from skviz.scenes.pictures import opened

__all__ = ["CATEGORIES", "LEFT_OUT", "cut_outs", "files", "packed"]

FOLDER = "101_ObjectCategories"
LEFT_OUT = ("BACKGROUND_Google", "Faces_easy")
CATEGORIES = (
    "Faces", "Leopards", "Motorbikes", "accordion", "airplanes", "anchor", "ant", "barrel", "bass",
    "beaver", "binocular", "bonsai", "brain", "brontosaurus", "buddha", "butterfly", "camera",
    "cannon", "car_side", "ceiling_fan", "cellphone", "chair", "chandelier", "cougar_body",
    "cougar_face", "crab", "crayfish", "crocodile", "crocodile_head", "cup", "dalmatian",
    "dollar_bill", "dolphin", "dragonfly", "electric_guitar", "elephant", "emu", "euphonium",
    "ewer", "ferry", "flamingo", "flamingo_head", "garfield", "gerenuk", "gramophone",
    "grand_piano", "hawksbill", "headphone", "hedgehog", "helicopter", "ibis", "inline_skate",
    "joshua_tree", "kangaroo", "ketch", "lamp", "laptop", "llama", "lobster", "lotus", "mandolin",
    "mayfly", "menorah", "metronome", "minaret", "nautilus", "octopus", "okapi", "pagoda", "panda",
    "pigeon", "pizza", "platypus", "pyramid", "revolver", "rhino", "rooster", "saxophone",
    "schooner", "scissors", "scorpion", "sea_horse", "snoopy", "soccer_ball", "stapler", "starfish",
    "stegosaurus", "stop_sign", "strawberry", "sunflower", "tick", "trilobite", "umbrella", "watch",
    "water_lilly", "wheelchair", "wild_cat", "windsor_chair", "wrench", "yin_yang",
)  # fmt: skip
TEST_EVERY = 5  # photographs whose number is a multiple are for the test
WHITE, BORDER = 245, 0.97  # of every channel; the share of the border that is to be white
AREA, WHOLE = (0.08, 0.7), 0.9  # that an object may cover, and how much of it is to be in one piece
SIDE, MARGIN = 128, 2  # pixels of a cut-out, and between it and its border
LARGEST = 320  # of the longer side; a sixth of the photographs are larger, and are reduced


def files(root: Path, *, test: bool) -> list[tuple[Path, int]]:
    """List the photographs of one part of the split, each with its class.

    Raises
    ------
    DataError
        If the folder does not hold the 100 categories.
    """
    root = root if not (root / FOLDER).is_dir() else root / FOLDER
    found = {folder.name for folder in root.iterdir() if folder.is_dir()} if root.is_dir() else ()
    if set(found) - set(LEFT_OUT) != set(CATEGORIES):
        raise DataError(f"{root} does not hold the categories of Caltech-101; give its folder")
    return [
        (path, label)
        for label, category in enumerate(CATEGORIES)
        for path in sorted((root / category).glob("image_*.jpg"))
        if (int(path.stem[-4:]) % TEST_EVERY == 0) == test
    ]


def packed(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Read photographs into one tensor, each in the upper left, its edges repeated beyond it.

    Returns
    -------
    tuple of Tensor
        uint8 (N, 3, 320, 320), and the height and width of each, (N, 2).
    """
    made = np.empty((len(paths), 3, LARGEST, LARGEST), np.uint8)

    def read(number: int) -> tuple[int, int]:
        picture = opened(paths[number]).convert("RGB")
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture).transpose(2, 0, 1)
        height, width = pixels.shape[1:]
        beyond = ((0, 0), (0, LARGEST - height), (0, LARGEST - width))
        made[number] = np.pad(pixels, beyond, mode="edge")
        return height, width

    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(read, range(len(paths))))
    return torch.from_numpy(made), torch.tensor(sizes)


def cut_outs(paths: list[Path], *, each: int = 4) -> Objects:
    """Cut out what stands on white: all but the white that reaches the border.

    Parameters
    ----------
    paths
        Photographs, their folders the categories.
    each
        At most so many of a category, the first.
    """
    found: dict[Path, np.ndarray] = {}
    taken: dict[str, int] = {}
    for path in paths:
        category = path.parent.name
        if taken.get(category, 0) < each and (cut := flooded(path)) is not None:
            found[path] = cut
            taken[category] = taken.get(category, 0) + 1
    if not found:
        raise DataError("none of these photographs shows an object on white")
    return Objects(
        torch.from_numpy(np.stack(list(found.values()))).permute(0, 3, 1, 2).contiguous(),
        tuple(path.parent.name for path in found),
        tuple(path.stem for path in found),
    )


def flooded(path: Path) -> np.ndarray | None:
    """Return the object of a photograph on white, (128, 128, 4); None if that is not to be had."""
    picture = opened(path).convert("RGB")
    parts, _ = ndimage.label(np.asarray(picture).min(2) >= WHITE)
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    if (border > 0).mean() < BORDER:
        return None
    inside = ndimage.binary_opening(~np.isin(parts, np.unique(border[border > 0])))
    pieces, count = ndimage.label(inside)
    sizes = ndimage.sum(inside, pieces, range(1, count + 1)) if count else np.zeros(1)
    if not AREA[0] < inside.mean() < AREA[1] or sizes.max() < WHOLE * sizes.sum():
        return None
    # A pixel of the rim still holds white.
    alpha = Image.fromarray(ndimage.binary_erosion(inside) * np.uint8(255))
    picture.putalpha(alpha)
    box = alpha.getbbox()
    if box is None:
        return None
    cut = picture.crop(box)
    ratio = (SIDE - 2 * MARGIN) / max(cut.size)
    size = (max(1, round(cut.width * ratio)), max(1, round(cut.height * ratio)))
    # Pillow resamples RGBA with alpha that multiplies colours.
    cut = cut.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGBA", (SIDE, SIDE))
    canvas.paste(cut, ((SIDE - cut.width) // 2, (SIDE - cut.height) // 2))
    return np.asarray(canvas)
