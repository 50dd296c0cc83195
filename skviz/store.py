"""Sweeps on disk: one Zarr store, read back as it was."""

import os
from pathlib import Path

import xarray as xr

from skviz.errors import DataError

__all__ = ["load", "save"]


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


def load(path: str | os.PathLike[str]) -> xr.DataTree:
    """Read a sweep that `save` wrote.

    Raises
    ------
    DataError
        If there is no such store.
    """
    try:
        return xr.open_datatree(path, engine="zarr").load()
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{path} is not a sweep that skviz saved") from error
