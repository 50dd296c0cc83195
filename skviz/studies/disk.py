"""A study on a disk: a Zarr store that is filled task by task."""

from __future__ import annotations

import os
from dataclasses import dataclass
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from skviz.errors import DataError
from skviz.studies import store
from skviz.studies.keeping import Variable, place_of
from skviz.studies.store import (
    CODECS,
    DONE,
    STORE,
    arrays_in,
    aside,
    encodable,
    seal,
    sound,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr

__all__ = ["Disk"]

KEPT_BY_OTHERS = (STORE, "coordinates")  # attributes that are the store's own, and xarray's


@dataclass(frozen=True)
class Disk:
    """A study in a Zarr store."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The folder's."""
        return self.path.name

    def create(
        self, labels: xr.Dataset, variables: Mapping[str, Variable], images: int, chunk: int
    ) -> None:
        """Make the store, complete or not at all; or put in place what it lacks beside its tasks.

        Raises
        ------
        DataError
            If it cannot be created, or something else is there.
        """
        beside = aside(self.path)
        try:
            if not self.path.exists():
                self.lay_out(beside, labels, variables, images, chunk)
                beside.rename(self.path)
            elif self.lacks():
                self.lay_out(beside, labels, variables, images, chunk)
                self.repair(beside)
        except OSError as error:
            raise DataError(f"{self.path} could not be created ({error})") from error

    def lay_out(
        self, path: Path, labels: xr.Dataset, variables: Mapping[str, Variable], images: int,
        chunk: int,
    ) -> None:  # fmt: skip
        """Write the labels and empty arrays."""
        written(encodable(labels), path)
        group = zarr.open_group(path, mode="r+", zarr_format=3)
        marks = Variable("task", (), (), "u1", "whether the task is done", "")
        for name, variable in {**variables, DONE: marks}.items():
            size = variable.size(images, labels.sizes["scale"], chunk)
            first = chunk if variable.per.startswith("image") else size[0]
            group.create_array(
                name,
                shape=size,
                chunks=(1 if variable.per.startswith("task") else min(first, size[0]), *size[1:]),
                dtype=str if variable.dtype == "U" else variable.dtype,
                compressors=CODECS,
                fill_value=np.nan if variable.dtype.startswith("f") else None,
                dimension_names=variable.all_dims,
                attributes=dict(variable.attrs),
            )
        seal(path, variables)

    def lacks(self) -> bool:
        """Whether anything is missing or damaged beside the tasks' chunks."""
        held = store.attributes(self.path)[STORE]
        if set(held["arrays"]) - set(arrays_in(self.path)):
            return True
        group = zarr.open_group(self.path, mode="r", zarr_format=3)
        labels = set(held["arrays"]) - {*held["tasks"], DONE}
        return not all(sound(self.chunk(name, 0, group[name].ndim)) for name in labels)  # type: ignore[union-attr]

    def repair(self, whole: Path) -> None:
        """Take what is missing or damaged beside the tasks' chunks from a new store, used up."""
        for name in arrays_in(whole):
            chunks = [file for file in (whole / name).glob("c/**/*") if file.is_file()]
            there = self.path / name
            kept = (there / file.relative_to(whole / name) for file in chunks)
            if not (there / "zarr.json").exists() or not all(map(sound, kept)):
                rmtree(there, ignore_errors=True)
                (whole / name).rename(there)
        rmtree(whole)

    def attributes(self) -> dict[str, Any]:
        """Return what the study says it is."""
        return {k: v for k, v in store.attributes(self.path).items() if k not in KEPT_BY_OTHERS}

    def chunk(self, name: str, task: int, dimensions: int) -> Path:
        """Return the file of a task's chunk."""
        return self.path.joinpath(name, "c", str(task), *["0"] * (dimensions - 1))

    def pending(self) -> list[int]:
        """List the tasks that are not done, or whose chunks are not what was written."""
        group = zarr.open_group(self.path, mode="r", zarr_format=3)
        names = store.attributes(self.path)[STORE]["tasks"]
        arrays: dict[str, Any] = {name: group[name] for name in names}
        left = set(store.undone(self.path))
        for name, array in arrays.items():
            examples = array.metadata.dimension_names[0] == "example"
            for task in range(1 if examples else array.shape[0] // array.chunks[0] + 1):
                if task * array.chunks[0] < array.shape[0]:
                    file = self.chunk(name, task, array.ndim)
                    left |= set() if task in left or sound(file) else {task}
        return sorted(left)

    def contents(self, left: set[int]) -> dict[int, int]:
        """Return 64 bits of a hash for each image that was read in the other tasks."""
        array: Any = zarr.open_group(self.path, mode="r", zarr_format=3)["content"]
        found: dict[int, int] = {}
        size = array.chunks[0]
        for start in range(0, array.shape[0], size):
            if start // size not in left:
                values = array[start : start + size].tolist()
                found |= {start + place: value for place, value in enumerate(values) if value}
        return found

    def write(
        self, task: int, arrays: Mapping[str, np.ndarray], variables: Mapping[str, Variable]
    ) -> None:
        """Write one whole chunk of every array to the disk, then mark the task as done.

        Raises
        ------
        DataError
            If it cannot be written; what is done is kept.
        """
        try:
            self.put(task, arrays, variables)
        except OSError as error:
            raise DataError(
                f"{self.path} could not be written ({error}); what is done is kept: mend "
                "that and run the same again"
            ) from error

    def put(
        self, task: int, arrays: Mapping[str, np.ndarray], variables: Mapping[str, Variable]
    ) -> None:
        """Write the chunks, and then the mark."""
        group: Any = zarr.open_group(self.path, mode="r+", zarr_format=3)
        mark = self.chunk(DONE, task, 1)
        mark.unlink(missing_ok=True)
        for name, values in arrays.items():
            size = group[name].chunks[0]
            place = place_of(task, size, variables[name], len(values))
            if place is None:
                continue
            file = self.chunk(name, task, values.ndim)
            file.unlink(missing_ok=True)  # a damaged one could not be read to be changed
            group[name][place] = values
            sync(file)
        group[DONE][task] = 1
        sync(mark)

    def finish(self) -> xr.Dataset:
        """Return the result, read when it is used; only when nobody else writes."""
        for leftover in self.path.rglob("*.partial"):  # of killed writers
            leftover.unlink()
        return store.load(self.path, lazy=True)


def sync(file: Path) -> None:
    """Have the disk hold a file."""
    for place in (file, file.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
