"""CIFAR-10 (Krizhevsky, 2009) as torchvision has it, from the six original binary files.

torchvision reads the pickled edition; everything else is its own: layout, download, indexing.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.vision import VisionDataset

from skviz.errors import DataError

__all__ = ["Cifar10", "fetch"]

SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_root() -> Path:
    """Return the folder for data sets: ``skviz`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "skviz"


class Cifar10(CIFAR10):  # type: ignore[misc]
    """The data set with ``data`` (N, 32, 32, 3), uint8, ``targets``, ``classes``.

    Parameters
    ----------
    root
        Folder that holds ``cifar-10-batches-bin``; by default where `fetch` puts it.
    train
        The 50,000 training photographs, or the 10,000 of the test.
    **transforms
        ``transform`` and ``target_transform``, as everywhere in torchvision.

    Raises
    ------
    DataError
        If a file is missing or is not the original.
    """

    base_folder = "cifar-10-batches-bin"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    filename = "cifar-10-binary.tar.gz"
    tgz_md5 = "c32a1d4ab5d03f1284b67883e8d87530"

    def __init__(
        self, root: str | Path | None = None, *, train: bool = True, **transforms: Any
    ) -> None:
        VisionDataset.__init__(self, root or default_root(), **transforms)
        self.train = train
        self.classes = list(CLASSES)
        self.class_to_idx = {name: index for index, name in enumerate(CLASSES)}
        names = [name for name in SHA256 if name.startswith("data" if train else "test")]
        rows = np.concatenate([self.read(name) for name in names])
        self.targets = rows[:, 0].tolist()
        self.data = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    def read(self, name: str) -> np.ndarray:
        """Read one file: rows of a label and 3 × 32 × 32 values."""
        path = Path(self.root) / self.base_folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing; get it with `python -m recipes data cifar10`")
        if sha256(path) != SHA256[name]:
            raise DataError(f"{path} is not the original file (sha256 differs); fetch it again")
        return np.fromfile(path, np.uint8).reshape(-1, 3073)

    def _check_integrity(self) -> bool:
        """Tell torchvision's `download` whether there is nothing left to do."""
        folder = Path(self.root) / self.base_folder
        return all((folder / n).is_file() and sha256(folder / n) == SHA256[n] for n in SHA256)


def fetch(source: Path | None = None, root: Path | None = None) -> Path:
    """Put CIFAR-10 into `root`, from a folder that holds the binary files or from its authors.

    Returns
    -------
    Path
        The folder of the files, which were read and checked.

    Raises
    ------
    DataError
        If a file is missing in `source` or is not the original, or nothing could be downloaded.
    """
    root = root or default_root()
    target = root / Cifar10.base_folder
    if source:
        target.mkdir(parents=True, exist_ok=True)
        for name in SHA256:
            found = next(iter(sorted(source.rglob(name))), None)
            if found is None:
                raise DataError(f"no {name} below {source}")
            if found.resolve() != (target / name).resolve():
                shutil.copyfile(found, target / name)
    else:
        shell = Cifar10.__new__(Cifar10)
        VisionDataset.__init__(shell, root)
        try:
            shell.download()
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"CIFAR-10 could not be downloaded ({error}); give a folder that holds its binary "
                "files"
            ) from error
    for train in (True, False):
        Cifar10(root, train=train)
    return target
