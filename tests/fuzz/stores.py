"""Stores of studies, damaged on the disk; and what is no store."""

import random
import shutil
from collections.abc import Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import torch
import xarray as xr

import skviz
from skviz.studies import store
from tests.fuzz.judge import Case
from tests.fuzz.names import model

ADDRESSES = ("s3://bucket/x.zarr", "memory://x", "x.zip", "gs://a", "file:///x", "", "\0", ".")


def study(path: Any) -> xr.Dataset:
    """Sweep four images into a store, or go on there."""
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    ds = skviz.sweep(model(), images, store=path, chunk=2, progress=False)
    return ds.load()


def damage(rng: random.Random, path: Path) -> str:
    """Damage a store somewhere; return what was done."""
    file = rng.choice(sorted(file for file in path.rglob("*") if file.is_file()))
    content, way = file.read_bytes(), rng.randrange(6)
    if way == 0:
        file.unlink()
    elif way == 1:
        file.write_bytes(content[: rng.randrange(len(content))])
    elif way == 2:
        changed = bytearray(content)
        changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(changed)
    elif way == 3:
        file.write_bytes(b"")
    elif way == 4:
        shutil.rmtree(file.parent)
    else:
        file.unlink()
        file.mkdir()
    return f"{('lost', 'cut', 'changed', 'emptied', 'folder lost', 'now a folder')[way]} {file.relative_to(path)}"  # noqa: E501


def same(whole: xr.Dataset, answer: Any) -> bool:
    """Whether a result is the whole one, with its names and its attributes."""
    return bool(answer.identical(whole))


def mended(path: Path) -> Any:
    """Run the study again, which mends it, or says what is damaged."""
    return study(path)


def addressed(folder: Path, address: str) -> Any:
    """Sweep into what is no folder, or would be one by accident."""
    with chdir(folder):
        return study(address)


def cases(seed: int, count: int, folder: Path) -> Iterator[Case]:
    """List cases."""
    first = folder / "whole.zarr"
    study(first)
    whole = store.load(first)
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path = folder / f"{number}.zarr"
        if number % 10 == 0:
            address = ADDRESSES[number // 10 % len(ADDRESSES)]
            yield Case(f"address {address!r}", partial(addressed, folder, address))
            continue
        shutil.copytree(first, path)
        what = damage(rng, path)
        act = rng.choice([store.load, mended])
        yield Case(f"{act.__name__} {what}", partial(act, path), partial(same, whole))
