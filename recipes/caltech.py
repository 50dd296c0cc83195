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
from torch import Tensor

from skviz.errors import DataError
from skviz.scenes.pictures import opened

__all__ = ["CATEGORIES", "LEFT_OUT", "files", "packed"]

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
