"""Results on disk: Zarr stores, read back as they were or not at all, and filled task by task.

Every chunk ends in the checksum of Zarr's own codec (crc32c) and every chunk is written, blank or
not. So one that was cut, altered or lost is named in an error when it is read, and never taken for
blanks; `pending` lists the tasks that have to be done again.
"""

import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
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

from skviz.errors import DataError
from skviz.scenes.made import images_hash

__all__ = [
    "attributes",
    "create",
    "lacks",
    "load",
    "pending",
    "read",
    "repair",
    "save",
    "tidy",
    "write",
]

DONE = "done"
LAYOUT = 2  # of the store, written into it
STORE = "store"  # the attribute that says so
CODECS = (ZstdCodec(level=3), Crc32cCodec())
CHUNK = re.compile(r"/c(/\d+)*$")  # how the path of a chunk ends
AGAIN = "run the command that made it again, with the same data and parameters, to mend it"

zarr.config.set({"array.write_empty_chunks": True})


def intact(content: bytes) -> bool:
    """Whether a chunk ends in the checksum of what comes before it."""
    return int.from_bytes(content[-4:], "little") == google_crc32c.value(content[:-4])


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


def save(ds: xr.DataTree | xr.Dataset, path: str | os.PathLike[str]) -> Path:
    """Write a result to a new Zarr store, complete or not at all.

    Raises
    ------
    DataError
        If something is there already.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} exists; give another name or remove it")
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    rmtree(beside, ignore_errors=True)
    tree = ds.copy() if isinstance(ds, xr.DataTree) else xr.DataTree(ds)
    tree = tree.map_over_datasets(encodable)
    encoding = {
        node.path: {
            name: {"compressors": CODECS, "chunks": variable.shape}
            for name, variable in node.to_dataset(inherit=False).variables.items()
            if variable.ndim
        }
        for node in tree.subtree
    }
    tree.to_zarr(beside, mode="w-", zarr_format=3, consolidated=False, encoding=encoding)
    seal(beside)
    beside.rename(path)
    return path


def encodable(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with strings as Zarr has a settled form for, and nothing of older stores."""
    for name, variable in ds.variables.items():
        kept = {"dtype", "scale_factor", "add_offset", "_FillValue"} & variable.encoding.keys()
        ds[name].encoding = {key: variable.encoding[key] for key in kept}
    text = [name for name, variable in ds.variables.items() if variable.dtype.kind in "UT"]
    return ds.assign_coords({n: ds[n].astype(object) for n in text if n in ds.coords}).assign(
        {n: ds[n].astype(object) for n in text if n not in ds.coords}
    )


def seal(path: Path, of_tasks: Iterable[str] = ()) -> None:
    """Write into a store its layout, which arrays belong to it, and which its tasks write."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    group.attrs[STORE] = {"layout": LAYOUT, "arrays": arrays_in(path), "tasks": sorted(of_tasks)}


def arrays_in(path: Path) -> list[str]:
    """List the arrays of a store by their paths."""
    group = zarr.open_group(path, mode="r", zarr_format=3)
    return sorted(
        f"{name}"
        for name, member in group.members(max_depth=None)
        if isinstance(member, zarr.Array)
    )


def attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of a store.

    Raises
    ------
    DataError
        If there is no store, or one of another layout.
    """
    try:
        found: dict[str, Any] = dict(zarr.open_group(path, mode="r", zarr_format=3).attrs)
    except (FileNotFoundError, ValueError, OSError) as error:
        if (path / ".zgroup").exists():
            raise DataError(
                f"{path} has the layout of an older skviz, which has no checksums; remove it and "
                "make it again by the command that made it (skviz sweep …)"
            ) from error
        raise DataError(f"{path} is not a result that skviz saved") from error
    if found.get(STORE, {}).get("layout") != LAYOUT:
        raise DataError(f"{path} is not a result that this version of skviz saved")
    return found


def load(path: str | os.PathLike[str], *, lazy: bool = False) -> xr.DataTree:
    """Read a result that `save` or a study wrote; with `lazy`, values only when they are used.

    Raises
    ------
    DataError
        If there is no such store, a study in it is not finished, or anything of it is missing or
        damaged; with `lazy` also later, when that is used.
    """
    path = Path(path)
    held = attributes(path)[STORE]["arrays"]
    lost = sorted(set(held) - set(arrays_in(path)))
    if lost:
        raise DataError(f"{path}: the array {lost[0]} is missing; {AGAIN}")
    if DONE in held and (left := pending(path, check=False)):
        raise DataError(f"{path}: {len(left)} tasks are not done (first {left[0]}); {AGAIN}")
    tree = xr.open_datatree(
        Checked(path, read_only=True),  # type: ignore[arg-type]
        engine="zarr",
        chunks=None,
        consolidated=False,
        zarr_format=3,
    )
    tree = tree.map_over_datasets(readable)
    if "content" in tree:
        tree.attrs["images_sha256"] = images_hash(np.asarray(tree["content"]))
    return tree if lazy else tree.load()


def readable(ds: xr.Dataset) -> xr.Dataset:
    """Return a Dataset with the strings that NumPy has always had, and without the store's own."""
    text = [name for name, variable in ds.variables.items() if variable.dtype.kind in "OT"]
    plain = {n: (ds[n].dims, np.array(ds[n].values.tolist(), dtype=str), ds[n].attrs) for n in text}
    ds = ds.assign_coords({n: plain[n] for n in text if n in ds.coords})
    ds = ds.assign({n: plain[n] for n in text if n not in ds.coords})
    ds.attrs.pop(STORE, None)
    return ds


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
    encoding = {n: {"compressors": CODECS, "chunks": v.shape} for n, v in labels.variables.items()}
    encodable(labels).to_zarr(
        beside, mode="w-", zarr_format=3, consolidated=False, encoding=encoding
    )
    group = zarr.open_group(beside, mode="r+", zarr_format=3)

    def make(name: str, dims: Sequence[Hashable], dtype: Any, shape: Sequence[int]) -> None:
        cut = tuple(chunks.get(str(d), length) for d, length in zip(dims, shape, strict=True))
        group.create_array(
            name,
            shape=tuple(shape),
            chunks=cut,
            dtype=str if np.dtype(dtype).kind == "U" else dtype,
            compressors=CODECS,
            fill_value=np.nan if np.dtype(dtype).kind == "f" else None,
            dimension_names=[str(d) for d in dims],
        )

    for name, variable in likeness.items():
        shape = [sizes.get(str(d), length) for d, length in variable.sizes.items()]
        make(name, variable.dims, variable.dtype, shape)
    tasks = -(-sizes["image"] // chunks["image"])
    chunks = {"task": 1}
    make(DONE, ("task",), "u1", (tasks,))
    seal(beside, likeness)
    beside.rename(path)


def lacks(path: Path) -> bool:
    """Whether anything of a store is missing or damaged beside its tasks' chunks."""
    held = attributes(path)[STORE]
    if set(held["arrays"]) - set(arrays_in(path)):
        return True
    labels = set(held["arrays"]) - {*held["tasks"], DONE}
    return not all(map(sound, labels_of(path, labels)))


def labels_of(path: Path, names: Iterable[str]) -> list[Path]:
    """List the files of labels, each of which is one chunk."""
    group = zarr.open_group(path, mode="r", zarr_format=3)
    return [path / name / chunk_of(0, group[name].ndim) for name in names]  # type: ignore[union-attr]


def repair(path: Path, whole: Path) -> None:
    """Take what a store lacks, beside its tasks' chunks, from a new one of the same study.

    Parameters
    ----------
    path, whole
        The store, and the new one, which is used up.
    """
    for name in arrays_in(whole):
        there = path / name
        written = [
            p.relative_to(whole / name) for p in (whole / name).glob("c/**/*") if p.is_file()
        ]
        if (there / "zarr.json").exists() and all(sound(there / each) for each in written):
            continue
        rmtree(there, ignore_errors=True)
        there.parent.mkdir(parents=True, exist_ok=True)
        (whole / name).rename(there)
    rmtree(whole)


def write(path: Path, task: int, chunk: int, arrays: Mapping[str, xr.Variable]) -> None:
    """Write one whole chunk of every array to the disk, then mark the task as done."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    mark = path / DONE / "c" / str(task)
    mark.unlink(missing_ok=True)
    for name, variable in arrays.items():
        file = path / name / chunk_of(task, variable.ndim)
        file.unlink(missing_ok=True)  # a damaged one could not be read to be changed
        of_images = variable.dims[0] == "image"
        place: Any = slice(task * chunk, task * chunk + len(variable)) if of_images else ...
        group[name][place] = variable.values
        sync(file)
    group[DONE][task] = 1  # type: ignore[index]
    sync(mark)


def chunk_of(task: int, dimensions: int) -> str:
    """Return the path of a task's chunk below its array."""
    return "/".join(["c", str(task), *["0"] * (dimensions - 1)])


def sync(file: Path) -> None:
    """Have the disk hold a file."""
    for place in (file, file.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sound(file: Path) -> bool:
    """Whether a chunk is there and is what was written."""
    try:
        return intact(file.read_bytes())
    except OSError:
        return False


def pending(path: Path, *, check: bool = True) -> list[int]:
    """List the tasks that are not marked as done, or whose chunks are not what was written.

    Parameters
    ----------
    path
        A store.
    check
        Read all chunks to see; otherwise only the marks count.
    """
    group = zarr.open_group(path, mode="r", zarr_format=3)
    names = attributes(path)[STORE]["tasks"] if check else []
    arrays: dict[str, Any] = {name: group[name] for name in names}

    def done(task: int) -> bool:
        mine = (
            path / name / chunk_of(task, array.ndim)
            for name, array in arrays.items()
            if task == 0 or array.metadata.dimension_names[0] == "image"
        )
        return sound(path / DONE / "c" / str(task)) and all(map(sound, mine))

    count: Any = group[DONE]
    return [task for task in range(count.shape[0]) if not done(task)]


def read(path: Path, name: str, left: set[int]) -> np.ndarray:
    """Read an array along images, with 0 where tasks are left."""
    array: Any = zarr.open_group(path, mode="r", zarr_format=3)[name]
    values, size = np.zeros(array.shape, array.dtype), array.chunks[0]
    for start in range(0, len(values), size):
        if start // size not in left:
            values[start : start + size] = array[start : start + size]
    return values


def tidy(path: Path) -> None:
    """Remove what killed writers left behind; only when nobody writes."""
    for leftover in path.rglob("*.partial"):
        leftover.unlink()
