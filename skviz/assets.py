"""The shipped files: where they are, and whether they are intact.

`data/` lies beside the package in a checkout and inside it in a wheel. Every file is checked
against the sha256 of `data/manifest.json` when it is read.
"""

import hashlib
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from skviz.errors import DataError


@cache
def data_folder() -> Path:
    """Return the folder that holds `manifest.json`."""
    package = Path(__file__).parent
    for folder in (package / "_data", package.parent / "data"):
        if (folder / "manifest.json").is_file():
            return folder
    raise DataError(
        f"skviz's data is neither in {package / '_data'} nor in {package.parent / 'data'}; "
        "install the wheel, or run from a complete checkout"
    )


@cache
def manifest() -> dict[str, str]:
    """Return the sha256 of every shipped file, by its path below the data folder."""
    hashes: dict[str, str] = json.loads((data_folder() / "manifest.json").read_text())
    return hashes


def read_bytes(name: str) -> bytes:
    """Read one shipped file and check it against the manifest.

    Raises
    ------
    DataError
        If the manifest does not know the file, or the file is missing or altered.
    """
    if name not in manifest():
        raise DataError(f"{name!r} is not among the shipped files; see data/manifest.json")
    path = data_folder() / name
    if not path.is_file():
        raise DataError(
            f"{path} is missing; some files are in skviz's repository alone: copy it from there"
        )
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest()[name]:
        raise DataError(f"{path} is not the file that was shipped (sha256 differs); restore it")
    return content


def read_image(name: str, mode: str) -> Tensor:
    """Decode one shipped picture to a uint8 tensor (C, H, W) in a Pillow mode."""
    picture = Image.open(io.BytesIO(read_bytes(name))).convert(mode)
    array = np.array(picture)  # (H, W) or (H, W, C)
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1).contiguous()


def names_in(folder: str, suffix: str = "") -> list[str]:
    """List the manifest's files below a folder, sorted."""
    return sorted(n for n in manifest() if n.startswith(f"{folder}/") and n.endswith(suffix))
