"""Sweeps into a Zarr store: they survive a killed machine, and memory does not grow with them.

The images are cut into tasks of `chunk`; one task writes one whole chunk of every array and then,
last of all, its mark in the array ``done``. A task with its mark and all of its chunks, as they
were written, is never computed again; any other is computed anew, and gives the same bytes. The
attributes of the store say what the study is (model, data, parameters, code), and another study is
refused.

Beside what `skviz.studies.sweeps` lists, the store has ``area`` (the share of the scene that the
object covers at scale 1, where there is a mask), ``problem`` (why an image was skipped; all else of
it is NaN) and ``content`` (64 bits of the sha256 of an image that was read
from a data set). A study goes on if the images of the tasks that are done are still what they
were; one that stopped it can be mended.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from skviz.errors import DataError
from skviz.scenes.source import Scenes
from skviz.studies import store
from skviz.studies.sweeps import (
    EXAMPLES,
    at_rest,
    blank_row,
    category_index,
    choose,
    cut,
    example,
    images_shown,
    labelled,
    labels,
    measure,
    measurements,
    provenance,
)

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Study", "run"]

WORDS = "U160"  # of a problem


@dataclass(eq=False)
class Study:
    """What is to be measured, and where it goes.

    Attributes
    ----------
    path
        The Zarr store.
    model, scenes, grid, names
        See `skviz.sweep`; the names are those of units.
    batch, chunk
        Images per forward pass, and per task.
    channels
        Keep the weight of every channel (float16).
    on_error
        ``"stop"`` or ``"skip"``.
    where
        Device.
    """

    path: Path
    model: nn.Module
    scenes: Scenes
    grid: list[float]
    names: Sequence[str] | None
    batch: int
    chunk: int
    channels: bool
    on_error: str
    where: torch.device

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "skip"):
            raise DataError(f"on_error must be 'stop' or 'skip', got {self.on_error!r}")
        self.batch, self.chunk = int(self.batch), int(self.chunk)  # also NumPy's numbers
        if min(self.batch, self.chunk, len(self.scenes)) < 1:
            raise DataError("a study needs an image, and batch and chunk of at least 1")

    @cached_property
    def truth(self) -> torch.Tensor | None:
        """The class of each image, if all are known."""
        return category_index(self.model, self.scenes)

    @cached_property
    def examples(self) -> torch.Tensor:
        """A few images at the largest scale."""
        return example(self.scenes, self.where, self.grid, skip=self.on_error == "skip")

    @cached_property
    def units(self) -> list[Any]:
        """The units that are recorded."""
        return choose(self.model, self.examples, self.names)

    @cached_property
    def blank(self) -> dict[str, np.ndarray]:
        """What stands for an image that was skipped."""
        return blank_row(measure(self.model, self.examples, self.units))

    def attrs(self) -> dict[str, Any]:
        """Say what the study is; the same attributes mean the same numbers."""
        parameters = {
            "units": list(labels(self.units)),
            "kernels": [list(map(str, kernels)) for kernels in labels(self.units).values()],
            "architecture_sha256": hashlib.sha256(repr(self.model).encode()).hexdigest(),
            "batch": self.batch,
            "chunk": self.chunk,
            "channels": self.channels,
            "device": self.where.type,
            "source_sha256": source_hash(self.scenes),
            "code_sha256": code_hash(),
        }
        described = self.scenes.attrs | images_shown(self.scenes, self.grid)
        return provenance(self.model) | described | parameters

    def prepare(self) -> list[int]:
        """Create the store, or check that it holds this study; return the tasks left."""
        attrs = json.loads(json.dumps(self.attrs()))
        if not self.path.exists():
            try:
                self.create(self.path, attrs)
            except OSError as error:
                raise DataError(f"{self.path} could not be created ({error})") from error
        kept = (store.STORE, "coordinates")  # the store's own and xarray's
        held = {k: v for k, v in store.attributes(self.path).items() if k not in kept}
        different = [key for key in sorted({*held, *attrs}) if held.get(key) != attrs.get(key)]
        if different:
            said = "; ".join(f"{k} {held.get(k)!r}, here {attrs.get(k)!r}" for k in different[:3])
            raise DataError(
                f"{self.path} holds another study ({said}); give another store, or the same model, "
                "data and parameters"
            )
        if store.lacks(self.path):
            whole = self.path.with_name(f"{self.path.name}.{os.getpid()}.whole")
            self.create(whole, attrs)
            store.repair(self.path, whole)
        left = store.pending(self.path)
        self.compare(left)
        return left

    def compare(self, left: Sequence[int]) -> None:
        """Refuse to go on if images that were read are not what they were."""
        content = store.read(self.path, "content", set(left))
        for index in np.flatnonzero(content).tolist():
            if self.scenes[index].content[0] != content[index]:
                raise DataError(
                    f"{self.path} holds another study: image {self.scenes.ids[index]!r} has "
                    "changed since it was measured; give another store, or put the image back"
                )

    def create(self, path: Path, attrs: dict[str, Any]) -> None:
        """Create the store, after the likeness of a task whose only image was skipped."""
        row = {key: np.stack([row[None]] * len(self.grid), 1) for key, row in self.blank.items()}
        tree = self.tree(row, 0, {})
        names = {
            "image": np.array(self.scenes.ids),
            "category": ("image", np.array(self.scenes.category)),
        }
        coords = tree.to_dataset()[["scale", "unit", "kernel"]].assign_coords(names)
        sizes = {
            "image": len(self.scenes),
            "example": min(EXAMPLES, self.chunk, len(self.scenes)),
        }
        chunks = {"image": self.chunk}
        store.create(path, coords.assign_attrs(attrs), variables(tree), sizes, chunks)

    def tree(
        self, measured: dict[str, np.ndarray], start: int, problems: dict[int, str]
    ) -> xr.DataTree:
        """Label the measurements of the images from `start` on, in the types of the store."""
        count = len(measured["prediction"])
        part = self.scenes[start : start + count]
        truth = None if self.truth is None else self.truth[start : start + count]
        tree = labelled(measured, labels(self.units), part, self.grid, truth)
        root = tree.to_dataset()
        root = root.assign(
            weight=root["weight"].astype("f4"),
            spread=root["spread"].astype("f4"),
            area=("image", measured["area"][:, 0]),
            content=("image", measured["content"][:, 0]),
            problem=("image", np.array([problems.get(i, "") for i in range(count)], WORDS)),
        )
        kept = tree.children if self.channels else {}
        children = {
            name: xr.DataTree(node.to_dataset().astype("f2")) for name, node in kept.items()
        }
        return xr.DataTree(root, children=children)

    def compute(self, tasks: Iterable[int]) -> Iterator[int]:
        """Measure and write task after task; yield each when it is done."""
        queue = [
            (task, cut(self.scenes[task * self.chunk : (task + 1) * self.chunk], self.batch))
            for task in tasks
        ]
        blank = self.blank if self.on_error == "skip" else None
        parts = (part for _, parts in queue for part in parts)
        stream = measurements(self.model, parts, self.grid, self.units, self.where, blank=blank)
        with closing(stream):
            for task, parts_of_it in queue:
                collected, problems, count = [], {}, 0
                for measured, wrong in islice(stream, len(parts_of_it)):
                    collected.append(measured)
                    problems.update({count + place: why for place, why in wrong.items()})
                    count += len(measured["prediction"])
                merged = {key: np.concatenate([m[key] for m in collected]) for key in collected[0]}
                tree = self.tree(merged, task * self.chunk, problems)
                try:
                    store.write(self.path, task, self.chunk, variables(tree, shown=task == 0))
                except OSError as error:
                    raise DataError(
                        f"{self.path} could not be written ({error}); what is done is kept: mend "
                        "that and run the same again"
                    ) from error
                yield task


def variables(tree: xr.DataTree, *, shown: bool = True) -> dict[str, xr.Variable]:
    """List what a task writes, by path: all that has images, and of the first the scenes shown."""
    return {
        f"{node.path}/{name}".strip("/"): variable.variable
        for node in tree.subtree
        for name, variable in node.to_dataset(inherit=False).data_vars.items()
        if "image" in variable.dims or (shown and "example" in variable.dims)
    }


def run(study: Study, *, client: "Client | None" = None, progress: bool = True) -> xr.DataTree:
    """Do what is left of a study, here or on a cluster; return its store, read when it is used."""
    with at_rest(study.model, study.where):
        left = study.prepare()
        size = {task: min(study.chunk, len(study.scenes) - task * study.chunk) for task in left}
        bar = tqdm(
            total=len(study.scenes),
            initial=len(study.scenes) - sum(size.values()),
            desc=study.path.name,
            unit="image",
            delay=2,
            disable=not progress,
        )
        if client is None:
            done = study.compute(left)
        else:
            from skviz.studies.cluster import spread

            done = spread(study, left, client)
        with bar:
            for task in done:
                bar.update(size[task])
    store.tidy(study.path)
    return store.load(study.path, lazy=True)


def source_hash(scenes: Scenes) -> str:
    """Return the sha256 of what scenes are made of; of what is read, of its names and categories.

    What is read may be mended while a study stands still; `Study.compare` looks at the rest.
    """
    digest = hashlib.sha256(repr((scenes.ids, scenes.category)).encode())
    digest.update(json.dumps(scenes.attrs, sort_keys=True).encode())
    if not scenes.source.threads:
        digest.update(scenes.content.tobytes())
    return digest.hexdigest()


def code_hash() -> str:
    """Return the sha256 of the package's own code."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
