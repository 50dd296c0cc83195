"""Results on a disk: Zarr stores, read back as they were or not at all.

Every chunk ends in the checksum of Zarr's own codec (crc32c) and every chunk is written, blank or
not. So one that was cut, altered or lost is named in an error when it is read, and never taken for
blanks; `skviz.studies.disk` lists the tasks that have to be done again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from typing import Any

import google_crc32c  # of zarr, for its codec
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from skviz.errors import DataError, entrance
from skviz.studies.keeping import with_hash

DONE = "done"
LAYOUT = 2  # of a store, written into it
STORE = "store"  # the attribute that says so
CODECS = (ZstdCodec(level=3), Crc32cCodec())
CHUNK = re.compile(r"/c(/\d+)*$")  # how the path of a chunk ends
ADDRESS = re.compile(r"\w{2,}:/|.*\.zip$|\.*$")  # of what is no folder, or of none
THERE = "the numbers beside it are as they were: put zarr.json back from a copy"
AGAIN = "run the command that made it again, with the same data and parameters, to mend it"

zarr.config.set({"array.write_empty_chunks": True})


def intact(content: bytes) -> bool:
    """Whether a chunk ends in the checksum of what comes before it."""
    kept, sum_ = content[:-4], content[-4:]
    return bool(kept) and int.from_bytes(sum_, "little") == google_crc32c.value(kept)


def sound(file: Path) -> bool:
    """Whether a chunk is there and is what was written."""
    try:
        return intact(file.read_bytes())
    except OSError:
        return False


class Checked(LocalStore):
    """A folder in which every chunk that is read is there, and is what was written."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Buffer | None:
        """Read a file; raise `DataError` if it is a chunk and missing or altered."""
        found = await super().get(key, prototype, byte_range)
        if CHUNK.search(key):
            if found is None:
                raise DataError(f"{self.root}: chunk {key} is missing; {AGAIN}")
            if not intact(found.to_bytes()):
                raise DataError(f"{self.root}: chunk {key} is damaged; {AGAIN}")
        return found


@entrance
def save(ds: xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a result to a new Zarr store, complete or not at all.

    Raises
    ------
    DataError
        If something is there already.
    """
    path = folder(path)
    if path.exists():
        raise DataError(f"{path} exists; give another name or remove it")
    beside = aside(path)
    try:
        written(encodable(ds), beside)
        seal(beside)
        beside.rename(path)
    finally:
        rmtree(beside, ignore_errors=True)
    return path


def folder(path: str | os.PathLike[str]) -> Path:
    """Return where a store is; raise `DataError` if that can be no folder."""
    if ADDRESS.match(os.fspath(path)):
        raise DataError(
            f"a store is a folder on this machine, such as 'study.zarr', not {os.fspath(path)!r}"
        )
    return Path(path)


def aside(path: Path) -> Path:
    """Return where a store is made before it takes its place; nothing is there."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    rmtree(beside, ignore_errors=True)
    return beside


def written(ds: xr.Dataset, path: Path) -> None:
    """Write arrays of one chunk each."""
    encoding = {
        name: {"compressors": CODECS, "chunks": variable.shape}
        for name, variable in ds.variables.items()
        if variable.ndim
    }
    ds.to_zarr(path, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)


def encodable(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with text as Zarr has a settled form for, and nothing of older stores."""
    ds = retyped(ds, "UT", lambda values: values.astype(object))
    for name, variable in ds.variables.items():
        kept = {"dtype", "scale_factor", "add_offset", "_FillValue"} & variable.encoding.keys()
        encoding = {key: variable.encoding[key] for key in kept}
        ds[name].encoding = {} if variable.dtype == object else encoding
    return ds


def readable(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with text as NumPy has always had it, and without the store's own."""
    ds = retyped(ds, "OT", lambda values: np.array(values.tolist(), dtype=str))
    ds = ds.drop_vars(DONE, errors="ignore")
    ds.attrs.pop(STORE, None)
    return with_hash(ds)


def retyped(ds: xr.Dataset, kinds: str, change: Any) -> xr.Dataset:
    """Give the variables of some kinds of types another type."""
    found = {
        name: (variable.dims, change(variable.values), variable.attrs)
        for name, variable in ds.variables.items()
        if variable.dtype.kind in kinds
    }
    ds = ds.assign_coords({name: new for name, new in found.items() if name in ds.coords})
    return ds.assign({name: new for name, new in found.items() if name not in ds.coords})


def seal(path: Path, of_tasks: Iterable[str] = ()) -> None:
    """Write into a store its layout, its arrays, which of them tasks write, and checksums."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    names = arrays_in(path)
    group.attrs[STORE] = {
        "layout": LAYOUT, "arrays": names, "tasks": sorted(of_tasks),
        "sums": {name: metadata_sum(path / name) for name in names},
        "sum": checksum(dict(group.attrs)),
    }  # fmt: skip


def metadata_sum(array: Path) -> int:
    """Return the checksum of what a store says of an array; -1 if that cannot be read."""
    try:
        return google_crc32c.value((array / "zarr.json").read_bytes())
    except OSError:
        return -1


def checksum(attrs: dict[str, Any]) -> int:
    """Return the checksum of attributes, apart from the store's own."""
    kept = {key: value for key, value in attrs.items() if key != STORE}
    return google_crc32c.value(json.dumps(kept, sort_keys=True).encode())


def arrays_in(path: Path) -> list[str]:
    """List the arrays of a store."""
    return sorted(file.parent.name for file in path.glob("*/zarr.json"))


def attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a store.

    Raises
    ------
    DataError
        If there is no store, or one of another layout.
    """
    try:
        found: dict[str, Any] = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
    except (ValueError, OSError, LookupError, TypeError) as error:
        if (path / ".zgroup").exists():
            raise DataError(
                f"{path} has the layout of an older skviz, which has no checksums; remove it and "
                "make it again by the command that made it (skviz sweep …)"
            ) from error
        if (path / DONE).exists() or (path / "zarr.json").exists():
            raise DataError(f"{path}: zarr.json is damaged; {THERE}") from error
        raise DataError(f"{path} is not a result that skviz saved") from error
    own = found.get(STORE, {})
    if own.get("layout") != LAYOUT:
        raise DataError(f"{path} is not a result that this version of skviz saved")
    if own.get("sum", checksum(found)) != checksum(found):
        raise DataError(f"{path}: the attributes in zarr.json are damaged; {THERE}")
    return found


@entrance
def load(path: str | os.PathLike[str], *, lazy: bool = False) -> xr.Dataset:
    """Read a result that `save` or a study wrote; with `lazy`, values only when they are used.

    Raises
    ------
    DataError
        If there is no such store, a study in it is not finished, or anything of it is missing or
        damaged; with `lazy` also later, when that is used.
    """
    path = folder(path)
    own = attributes(path)[STORE]
    held, sums = own["arrays"], own.get("sums", {})
    for name in sorted(held):
        found = metadata_sum(path / name)
        if found < 0 or found != sums.get(name, found):
            said = "missing" if found < 0 else "damaged"
            raise DataError(f"{path}: the array {name} is {said} (its zarr.json); {AGAIN}")
    if DONE in held and (left := undone(path)):
        raise DataError(f"{path}: {len(left)} tasks are not done (first {left[0]}); {AGAIN}")
    whole: Any = Checked(path, read_only=True)
    ds = readable(xr.open_zarr(whole, chunks=None, consolidated=False, zarr_format=3))
    return ds if lazy else ds.load()


def undone(path: Path) -> list[int]:
    """List the tasks that are not marked as done."""
    marks: Any = zarr.open_group(path, mode="r", zarr_format=3)[DONE]
    every = range(marks.shape[0])
    return [task for task in every if not sound(path / DONE / "c" / str(task))]
