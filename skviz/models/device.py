"""Where computations run."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from skviz.errors import ModelError


def resolve(device: str | torch.device = "auto") -> torch.device:
    """Return the device named, where ``"auto"`` is CUDA if there is one, and else the CPU.

    Raises
    ------
    ModelError
        If the name is no device, CUDA is asked for and absent, or nothing can be computed there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r} is not known; use 'auto', 'cpu' or 'cuda'") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda' was asked for, but torch finds no CUDA GPU; use 'auto'")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"nothing can be computed on {found} ({first}); use 'auto'") from error
    return found


@contextmanager
def memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed, up to 1 GiB, to use it again, until this is left.

    It would give back at once what a pass leaves, and get it again page by page in the next one,
    for which a network on a CPU may wait as long as it computes. What is kept at the end goes back
    with what is freed next.
    """
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None

    def threshold(trim: int, mmap: int) -> None:
        if hasattr(library, "mallopt"):  # of glibc
            library.mallopt(-1, trim)  # M_TRIM_THRESHOLD
            library.mallopt(-3, mmap)  # M_MMAP_THRESHOLD

    threshold(2**30, 2**30)
    try:
        yield
    finally:
        threshold(2**26, 2**25)  # the largest that it comes to by itself
