"""How a thing was made, as data: the calls, one after the other, each with its arguments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Made = tuple[dict[str, Any], ...]


def step(function: str, **arguments: Any) -> dict[str, Any]:
    """Describe one call as JSON can hold it; what was not given is left out."""
    given = {name: plain(value) for name, value in arguments.items() if value is not None}
    return {"function": function} | given


def plain(value: Any) -> Any:
    """Return what JSON can hold: of a path its name, of a tensor or array its hash."""
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return value.name
    if hasattr(value, "shape"):
        held = raw(value) if isinstance(value, Tensor) else np.asarray(value).tobytes()
        return {"shape": list(value.shape), "sha256": sha256_of([held])}
    return [plain(each) for each in value]


def sha256_of(parts: Iterable[bytes]) -> str:
    """Return the sha256 of some bytes after each other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def content_of(*tensors: Tensor) -> int:
    """Return the first 64 bits of the sha256 of what makes an image what it is."""
    found = sha256_of(f"{tuple(t.shape)}".encode() + raw(t) for t in tensors)
    return int(found[:16], 16)


def raw(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor, also of a type that NumPy does not have."""
    return bytes(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())


def images_hash(content: np.ndarray) -> str:
    """Return one sha256 for all images of a result."""
    return sha256_of([np.ascontiguousarray(content, "<u8").tobytes()])
