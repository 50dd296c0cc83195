"""What is kept of a study: the variables, and a place for them in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from skviz.scenes.made import images_hash

if TYPE_CHECKING:
    from skviz.studies.study import Study


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
    missing
        What stands where nothing was measured.
    """

    per: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    long_name: str
    units: str
    missing: Any = np.nan

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
        kind = object if self.dtype == "U" else self.dtype
        return np.full(self.size(images, scales, images), self.missing, kind)

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


class Memory:
    """A study in memory."""

    name = ""

    def prepare(self, study: Study) -> list[int]:
        """Begin; return the tasks."""
        self.study = study
        self.written: list[dict[str, np.ndarray]] = []
        return study.tasks

    def write(self, task: int, arrays: dict[str, np.ndarray]) -> None:  # noqa: ARG002
        """Keep the next task."""
        self.written.append(arrays)

    def close(self) -> None:
        """Nobody else can be at it."""

    def finish(self) -> xr.Dataset:
        """Return the result, once."""
        made = {}
        for name, variable in self.study.variables.items():
            tasks = [arrays.pop(name) for arrays in self.written]  # so that none is held twice
            whole = tasks[0] if variable.per == "example scale" else np.concatenate(tasks)
            values = whole.astype(str) if variable.dtype == "U" else whole
            made[name] = variable.all_dims, values, variable.attrs
        return with_hash(self.study.labels().assign(made))


def with_hash(ds: xr.Dataset) -> xr.Dataset:
    """Say which images a result is of."""
    if "content" not in ds:
        return ds
    return ds.assign_attrs(images_sha256=images_hash(np.asarray(ds["content"])))
