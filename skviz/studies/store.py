"""Sweeps on disk: Zarr stores, read back as they were, and filled task by task."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import xarray as xr
import zarr

from skviz.errors import DataError

__all__ = ["create", "load", "pending", "save", "tidy", "write"]

DONE = "done"


def save(ds: xr.DataTree, path: str | os.PathLike[str]) -> Path:
    """Write a sweep to a new Zarr store (format 2, which has a settled form for strings).

    Raises
    ------
    DataError
        If something is there already.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} exists; give another name or remove it")
    ds.to_zarr(path, mode="w-", zarr_format=2)
    return path


def load(path: str | os.PathLike[str], *, lazy: bool = False) -> xr.DataTree:
    """Read a sweep that `save` or a study wrote; with `lazy`, values only when they are used.

    Raises
    ------
    DataError
        If there is no such store.
    """
    try:
        tree = xr.open_datatree(path, engine="zarr", chunks=None)
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path} is not a sweep that skviz saved") from error
    return tree if lazy else tree.load()


def create(
    path: Path,
    labels: xr.Dataset,
    likeness: Mapping[str, xr.Variable],
    sizes: Mapping[str, int],
    chunks: Mapping[str, int],
) -> None:
    """Make the store of a study, complete or not at all.

    Parameters
    ----------
    path
        Where nothing is yet.
    labels
        Coordinates and attributes.
    likeness
        Variables by path: their types and dimensions, and lengths unless these are in `sizes`.
    sizes, chunks
        Lengths and lengths of the chunks, by dimension; by default a chunk is as long as its array.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    rmtree(beside, ignore_errors=True)
    labels.to_zarr(beside, mode="w-", zarr_format=2, consolidated=False)
    group = zarr.open_group(beside, mode="r+", zarr_format=2)

    def make(name: str, dims: Sequence[Hashable], dtype: Any, shape: Sequence[int]) -> None:
        cut = tuple(chunks.get(str(d), length) for d, length in zip(dims, shape, strict=True))
        group.create_array(
            name,
            shape=tuple(shape),
            chunks=cut,
            dtype=dtype,
            fill_value=np.nan if np.dtype(dtype).kind == "f" else None,
            attributes={"_ARRAY_DIMENSIONS": [str(d) for d in dims]},
        )

    for name, variable in likeness.items():
        shape = [sizes.get(str(d), length) for d, length in variable.sizes.items()]
        make(name, variable.dims, variable.dtype, shape)
    tasks = -(-sizes["image"] // chunks["image"])
    chunks = {"task": 1}
    make(DONE, ("task",), "u1", (tasks,))
    zarr.consolidate_metadata(beside, zarr_format=2)
    beside.rename(path)


def write(path: Path, task: int, chunk: int, arrays: Mapping[str, xr.Variable]) -> None:
    """Write one whole chunk of every array to the disk, then mark the task as done."""
    group = zarr.open_group(path, mode="r+", zarr_format=2)
    for name, variable in arrays.items():
        of_images = variable.dims[0] == "image"
        place: Any = slice(task * chunk, task * chunk + len(variable)) if of_images else ...
        group[name][place] = variable.values
        sync(path / name / ".".join([str(task), *["0"] * (variable.ndim - 1)]))
    group[DONE][task] = 1  # type: ignore[index]
    sync(path / DONE / str(task))


def sync(file: Path) -> None:
    """Have the disk hold a file, if it is one (a chunk of nothing but blanks is none)."""
    for place in (file, file.parent):
        if place.exists():
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def pending(path: Path) -> list[int]:
    """List the tasks that are not marked as done."""
    done = zarr.open_group(path, mode="r", zarr_format=2)[DONE]
    return np.flatnonzero(np.asarray(done[:]) != 1).tolist()  # type: ignore[index]


def tidy(path: Path) -> None:
    """Remove what killed writers left behind; only when nobody writes."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink()
