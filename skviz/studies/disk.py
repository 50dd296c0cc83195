"""A study on a disk: a Zarr store that is filled task by task."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from skviz.errors import DataError
from skviz.studies import store
from skviz.studies.keeping import Variable

if sys.platform != "win32":
    import fcntl

from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

if TYPE_CHECKING:
    from skviz.studies.study import Study


ALIKE, COARSE = 0.002, 0.02  # of the largest number; the latter where 16 bits are computed with
UNSTEADY = ("prediction", "correct", "delta", "completeness_error", "attribution")  # by rounding
KEPT_BY_OTHERS = (store.STORE, "coordinates")  # attributes: the store's own, and xarray's


@dataclass(frozen=True)
class Disk:
    """A study in a Zarr store."""

    path: Path
    locks: list[int] = field(default_factory=list, compare=False)

    @property
    def name(self) -> str:
        """The folder's."""
        return self.path.name

    def prepare(self, study: Study) -> list[int]:
        """Make the store, or check that it holds this study, and mend what it lacks.

        Returns
        -------
        list of int
            The tasks that are left.

        Raises
        ------
        DataError
            If it cannot be created, or something else is there.
        """
        labels = study.labels()
        beside = store.aside(self.path)
        try:
            lay_out(beside, labels, study)
            if not self.path.exists():
                with suppress(OSError):  # another process may have been first
                    beside.rename(self.path)
            self.lock()
            if beside.exists():
                self.check(labels.attrs)
                self.repair(beside)
        except OSError as error:
            raise DataError(f"{self.path} could not be created ({error})") from error
        finally:
            rmtree(beside, ignore_errors=True)
        left = self.pending()
        done = sorted(set(study.tasks) - set(left))
        if study.scenes.source.threads:
            self.check_images(study, done)
        self.check_numbers(study, done)
        return left

    def lock(self) -> None:
        """Keep other processes out until `close`; one that dies lets go.

        Raises
        ------
        DataError
            If another one has the store.
        """
        if sys.platform == "win32":
            return
        self.locks.append(os.open(self.path, os.O_RDONLY))
        try:
            fcntl.flock(self.locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"another process is writing {self.path}; wait for it and run the same again, "
                "or give another store"
            ) from error

    def close(self) -> None:
        """Let others in."""
        while self.locks:
            os.close(self.locks.pop())

    def check(self, mine: Mapping[str, Any]) -> None:
        """Raise `DataError` if the store holds another study."""
        held = {k: v for k, v in store.attributes(self.path).items() if k not in KEPT_BY_OTHERS}
        different = [key for key in sorted({*held, *mine}) if held.get(key) != mine.get(key)]
        if different:
            said = "; ".join(f"{k} {held.get(k)!r}, here {mine.get(k)!r}" for k in different[:3])
            raise DataError(
                f"{self.path} holds another study ({said}); give another store, or the same model, "
                "data and parameters"
            )

    def check_images(self, study: Study, done: Sequence[int]) -> None:
        """Raise `DataError` if an image that was read for a task that is done has changed."""
        array: Any = self.arrays["content"]
        for task in done:
            numbers = study.images(task)
            for number, content in zip(numbers, array[numbers.start : numbers.stop], strict=True):
                if content and study.scenes[number].content[0] != content:
                    raise DataError(
                        f"{self.path} holds another study: image {study.scenes.ids[number]!r} has "
                        "changed since it was measured; give another store, or put the image back"
                    )

    def check_numbers(self, study: Study, done: Sequence[int]) -> None:
        """Raise `DataError` if the model gives other numbers now, whatever the attributes say."""
        there: Any = self.arrays
        every = (number for task in done for number in study.images(task))
        first = next((number for number in every if not there["problem"][number]), -1)
        for name, values in (study.alone(first) if first >= 0 else {}).items():
            variable = study.variables[name]
            if variable.per != "image scale" or name in UNSTEADY or variable.dtype == "u1":
                continue
            kept = there[name][first][0]
            near = (COARSE if study.coarse else ALIKE) * np.nanmax(np.abs(kept), initial=0)
            if not np.allclose(values[0], kept, rtol=0, atol=near, equal_nan=True):
                raise DataError(
                    f"{self.path} holds other numbers than the model gives now ({name} of image "
                    f"{study.scenes.ids[first]!r}): a hook, a context or a function has changed; "
                    "put it back, or give another store"
                )

    def repair(self, whole: Path) -> None:
        """Take what is missing or damaged beside the tasks' chunks from a new store, used up."""
        for name in store.arrays_in(whole):
            chunks = [file for file in (whole / name).glob("c/**/*") if file.is_file()]
            there = self.path / name
            if store.metadata_sum(there) != store.metadata_sum(whole / name):
                there.mkdir(exist_ok=True)
                rmtree(there / "zarr.json", ignore_errors=True)
                (whole / name / "zarr.json").replace(there / "zarr.json")
            kept = (there / file.relative_to(whole / name) for file in chunks)
            if not all(map(store.sound, kept)):
                rmtree(there / "c", ignore_errors=True)
                (whole / name / "c").rename(there / "c")

    @property
    def arrays(self) -> Any:
        """The arrays, to be read and written chunk by chunk."""
        return zarr.open_group(self.path, mode="r+", zarr_format=3)

    def chunk(self, name: str, task: int, dimensions: int) -> Path:
        """Return the file of a task's chunk."""
        return self.path.joinpath(name, "c", str(task), *["0"] * (dimensions - 1))

    def pending(self) -> list[int]:
        """List the tasks that are not done, or whose chunks are not what was written."""
        arrays, left = self.arrays, set(store.undone(self.path))
        for name in store.attributes(self.path)[store.STORE]["tasks"]:
            array = arrays[name]
            for task in set(range(-(-array.shape[0] // array.chunks[0]))) - left:
                if not store.sound(self.chunk(name, task, array.ndim)):
                    left.add(task)
        return sorted(left)

    def write(self, task: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one whole chunk of every array to the disk, then mark the task as done.

        Raises
        ------
        DataError
            If it cannot be written; what is done is kept.
        """
        there, mark = self.arrays, self.chunk(store.DONE, task, 1)
        try:
            mark.unlink(missing_ok=True)
            for name, chunk in arrays.items():
                array = there[name]
                start = task * array.chunks[0]
                if start < array.shape[0]:  # the examples are all of the first task
                    file = self.chunk(name, task, array.ndim)
                    file.unlink(missing_ok=True)  # a damaged one could not be read to be changed
                    array[start : start + len(chunk)] = chunk
                    sync(file)
            there[store.DONE][task] = 1
            sync(mark)
        except OSError as error:
            raise DataError(
                f"{self.path} could not be written ({error}); what is done is kept: mend "
                "that and run the same again"
            ) from error

    def finish(self) -> xr.Dataset:
        """Return the result, read when it is used; only when nobody else writes."""
        for leftover in self.path.rglob("*.partial"):  # of killed writers
            leftover.unlink()
        return store.load(self.path, lazy=True)


def lay_out(path: Path, labels: xr.Dataset, study: Study) -> None:
    """Write the labels and empty arrays."""
    store.written(store.encodable(labels), path)
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    marks = Variable("task", (), (), "u1", "whether the task is done", "")
    for name, variable in {**study.variables, store.DONE: marks}.items():
        size = variable.size(len(study.scenes), len(study.grid), study.chunk)
        first = {"image": study.chunk, "task": 1}.get(variable.all_dims[0], size[0])
        group.create_array(
            name,
            shape=size,
            chunks=(min(first, size[0]), *size[1:]),
            dtype=str if variable.dtype == "U" else variable.dtype,
            compressors=store.CODECS,
            fill_value=np.nan if variable.dtype.startswith("f") else None,
            dimension_names=variable.all_dims,
            attributes=dict(variable.attrs),
        )
    store.seal(path, study.variables)


def sync(file: Path) -> None:
    """Have the disk hold a file."""
    for place in (file, file.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
