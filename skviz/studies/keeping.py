"""What is kept of a study, and where: the variables, and a place in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skviz.scenes.made import images_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

__all__ = ["EXAMPLES", "Kept", "Memory", "Variable", "place_of", "with_hash"]

EXAMPLES = 4  # images that are kept as they were shown


@dataclass(frozen=True)
class Variable:
    """What is kept of every image, of every image at every scale, or of them together.

    Attributes
    ----------
    per
        ``"image"``, ``"image scale"``, ``"task scale"`` (the sum over its images), or
        ``"example scale"`` (of the first few images only).
    dims, shape
        Its other dimensions.
    dtype
        Of what is kept; ``"U"`` for text.
    long_name, units
        For people.
    """

    per: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    long_name: str
    units: str

    @property
    def all_dims(self) -> tuple[str, ...]:
        """All of its dimensions."""
        return (*self.per.split(), *self.dims)

    @property
    def attrs(self) -> dict[str, Any]:
        """What a Dataset says about it."""
        return {"long_name": self.long_name} | ({"units": self.units} if self.units else {})

    def size(self, images: int, scales: int, chunk: int) -> tuple[int, ...]:
        """Return the lengths of all of its dimensions."""
        lengths = {"image": images, "scale": scales, "task": -(-images // chunk)}
        lengths["example"] = min(EXAMPLES, images, chunk)
        return (*(lengths[dim] for dim in self.per.split()), *self.shape)

    def blank(self, scales: int, images: int) -> np.ndarray:
        """Return what a task of so many images keeps, with nothing in it yet."""
        size = self.size(images, scales, images)
        if self.dtype == "U":
            return np.full(size, "", object)
        missing = np.dtype(self.dtype).kind == "f" and not self.per.startswith("task")
        return np.full(size, np.nan if missing else 0, self.dtype)

    def put(self, kept: np.ndarray, values: np.ndarray, at: int, there: list[int]) -> None:
        """Put what was measured at the scale number `at` where the images are."""
        if self.per == "image":
            kept[there] = values
        elif self.per == "image scale":
            kept[there, at] = values
        elif self.per == "task scale":
            kept[0, at] += values.sum(0)
        else:
            for place, value in zip(there, values, strict=False):
                if place < len(kept):
                    kept[place, at] = value


class Kept(Protocol):
    """Where a study goes."""

    @property
    def name(self) -> str:
        """What it is called."""

    def create(
        self, labels: xr.Dataset, variables: Mapping[str, Variable], images: int, chunk: int
    ) -> None:
        """Make it, or mend what is there beside the tasks."""

    def attributes(self) -> dict[str, Any]:
        """Return what it says it is."""

    def pending(self) -> list[int]:
        """List the tasks that are left."""

    def contents(self, left: set[int]) -> dict[int, int]:
        """Return 64 bits of a hash for each image that was read in the other tasks."""

    def write(
        self, task: int, arrays: Mapping[str, np.ndarray], variables: Mapping[str, Variable]
    ) -> None:
        """Keep a task."""

    def finish(self) -> xr.Dataset:
        """Return the result."""


class Memory:
    """A study in memory."""

    name = ""

    def create(
        self, labels: xr.Dataset, variables: Mapping[str, Variable], images: int, chunk: int
    ) -> None:
        """Make it."""
        self.labels, self.chunk, self.tasks = labels, chunk, -(-images // chunk)
        scales = labels.sizes["scale"]
        self.arrays = {
            name: np.empty(
                variable.size(images, scales, chunk),
                object if variable.dtype == "U" else variable.dtype,
            )
            for name, variable in variables.items()
        }
        self.variables = variables

    def attributes(self) -> dict[str, Any]:
        """Return what it says it is."""
        return self.labels.attrs

    def pending(self) -> list[int]:
        """List all tasks."""
        return list(range(self.tasks))

    def contents(self, left: set[int]) -> dict[int, int]:  # noqa: ARG002
        """Return nothing: nothing was read before."""
        return {}

    def write(
        self, task: int, arrays: Mapping[str, np.ndarray], variables: Mapping[str, Variable]
    ) -> None:
        """Keep a task."""
        for name, values in arrays.items():
            place = place_of(task, self.chunk, variables[name], len(values))
            if place is not None:
                self.arrays[name][place] = values

    def finish(self) -> xr.Dataset:
        """Return the result."""
        made = {
            name: (
                variable.all_dims,
                self.arrays[name].astype(str) if variable.dtype == "U" else self.arrays[name],
                variable.attrs,
            )
            for name, variable in self.variables.items()
        }
        return with_hash(self.labels.assign(made))


def place_of(task: int, chunk: int, variable: Variable, length: int) -> slice | None:
    """Return where a task lies along its first dimension; None for examples of later ones."""
    if variable.per.startswith("image"):
        return slice(task * chunk, task * chunk + length)
    if variable.per.startswith("task"):
        return slice(task, task + 1)
    return slice(0, length) if task == 0 else None


def with_hash(ds: xr.Dataset) -> xr.Dataset:
    """Say which images a result is of."""
    if "content" not in ds:
        return ds
    return ds.assign_attrs(images_sha256=images_hash(np.asarray(ds["content"])))
