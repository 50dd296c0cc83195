"""Results on a disk: Zarr stores, read back as they were or not at all.

Every chunk ends in the checksum of Zarr's own codec (crc32c) and every chunk is written, blank or
not. So one that was cut, altered or lost is named in an error when it is read, and never taken for
blanks; `skviz.studies.disk` lists the tasks that have to be done again.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import google_crc32c  # of zarr, for its codec
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from skviz.errors import DataError, entrance
from skviz.studies.keeping import with_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zarr.core.buffer import Buffer

__all__ = ["load", "save"]

DONE = "done"
LAYOUT = 2  # of a store, written into it
STORE = "store"  # the attribute that says so
CODECS = (ZstdCodec(level=3), Crc32cCodec())
CHUNK = re.compile(r"/c(/\d+)*$")  # how the path of a chunk ends
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
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} exists; give another name or remove it")
    beside = aside(path)
    written(encodable(ds), beside)
    seal(beside)
    beside.rename(path)
    return path


ADDRESS = re.compile(r"^\w{2,}:/|\.zip$")  # of what is no folder on a disk


def on_disk(path: Path) -> Path:
    """Return a path, or refuse what would become a folder of that name."""
    if ADDRESS.search(str(path)) or not path.name:
        raise DataError(
            f"{path}: a store is a folder on a disk with a name; addresses and .zip are not taken"
        )
    return path


@contextmanager
def described(path: Path) -> Iterator[None]:
    """Say of what Zarr and xarray cannot make sense that the store is damaged."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, FileNotFoundError) as error:
        raise DataError(
            f"{path}: its metadata are damaged ({type(error).__name__}: {error}); {AGAIN}"
        ) from error


def aside(path: Path) -> Path:
    """Return where a store is made before it takes its place; nothing is there."""
    on_disk(path)
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
    """Write into a store its layout, which arrays belong to it, and which its tasks write."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    names = arrays_in(path)
    kept: Any = {"layout": LAYOUT, "arrays": names, "tasks": sorted(of_tasks)}
    group.attrs[STORE] = kept | {"sums": [metadata_sum(path, name) for name in names]}


def metadata_sum(path: Path, name: str) -> int:
    """Return the checksum of what a store says of an array."""
    return int(google_crc32c.value((path / name / "zarr.json").read_bytes()))


def arrays_in(path: Path) -> list[str]:
    """List the arrays of a store."""
    return sorted(file.parent.name for file in path.glob("*/zarr.json") if file.is_file())


def attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a store.

    Raises
    ------
    DataError
        If there is no store, or one of another layout.
    """
    on_disk(path)
    try:
        found: dict[str, Any] = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
    except (OSError, ValueError, TypeError, KeyError) as error:
        if (path / ".zgroup").exists():
            raise DataError(
                f"{path} has the layout of an older skviz, which has no checksums; remove it and "
                "make it again by the command that made it (skviz sweep …)"
            ) from error
        raise DataError(f"{path} is not a result that skviz saved") from error
    kept = found.get(STORE)
    if not isinstance(kept, dict) or kept.get("layout") != LAYOUT or "arrays" not in kept:
        raise DataError(f"{path} is not a result that this version of skviz saved")
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
    path = Path(path)
    kept = attributes(path)[STORE]
    held = kept["arrays"]
    lost = sorted(set(held) - set(arrays_in(path)))
    if lost:
        raise DataError(f"{path}: the array {lost[0]} is missing; {AGAIN}")
    for name, once in zip(held, kept.get("sums", ()), strict=False):  # none in older stores
        if metadata_sum(path, name) != once:
            raise DataError(f"{path}: what it says of {name} is damaged; {AGAIN}")
    with described(path):
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
