"""Scenes × scales × a measure → a labelled Dataset, in memory or in a store, here or on a cluster.

The images are cut into tasks of `chunk`; one task writes one whole chunk of every array and then,
last of all, its mark in the array ``done``. A task with its mark and all of its chunks, as they
were written, is never computed again; any other is computed anew, and gives the same bytes. The
attributes say what the study is (model, images, options, code), and another study is refused.

Beside what the measure gives, every result has ``area`` (the share of the scene that the object
covers at scale 1, where that is known), ``problem`` (why an image was skipped; all else of it is
NaN) and ``content`` (64 bits of the sha256 of what makes an image what it is). A study goes on if
the images of the tasks that are done are still what they were; one that stopped it can be mended.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr
from tqdm import tqdm

from skviz.capture import Unit
from skviz.errors import DataError
from skviz.models import device as devices
from skviz.scenes.made import sha256_of
from skviz.studies.disk import Disk
from skviz.studies.keeping import Kept, Memory, Variable
from skviz.studies.setting import at_rest, category_index, choose, described, example, labels
from skviz.studies.tasks import ahead, batch_size, blanks, fill

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    import torch
    from distributed import Client
    from torch import Tensor, nn

    from skviz.scenes.ready import Ready
    from skviz.scenes.source import Scenes

__all__ = ["Batch", "Measure", "Study", "assembled", "run"]

OWN = {
    "area": Variable("image", (), (), "f4", "share of the scene that is object at scale 1", "1"),
    "content": Variable("image", (), (), "u8", "64 bits of the sha256 of the image", "1"),
    "problem": Variable("image", (), (), "U", "why the image was skipped", ""),
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Scenes at one scale, as a measure gets them.

    Attributes
    ----------
    images
        (B, 3, S, S) in 0…1, on the device.
    scale, ready
        At which, and of what.
    numbers
        Which of the study's images they are.
    truth
        (B,) their classes, where these are known.
    units
        Of the model, that were asked for.
    """

    images: Tensor
    scale: float
    ready: Ready
    numbers: Sequence[int]
    truth: Tensor | None
    units: Sequence[Unit]


class Measure(Protocol):
    """What is measured of a model that is shown scenes."""

    @property
    def options(self) -> dict[str, Any]:
        """What the numbers depend on beside model, scenes and units, for the attributes."""

    def variables(self, study: Study) -> dict[str, Variable]:
        """Say what it gives."""

    def coords(self, study: Study) -> dict[str, Any]:
        """Label its dimensions."""

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Measure a batch: every variable, (image, …)."""


@dataclass(eq=False)
class Study:
    """What is to be measured.

    Attributes
    ----------
    model, scenes, grid, measure
        Of what, shown what, at which scales.
    names
        Of units; None for all that can be shown.
    batch, chunk
        Images per forward pass, and per task.
    on_error
        ``"stop"`` or ``"skip"``.
    where
        Device.
    """

    model: nn.Module
    scenes: Scenes
    grid: list[float]
    measure: Measure
    names: Any
    batch: int
    chunk: int
    on_error: str
    where: torch.device

    def __post_init__(self) -> None:
        if self.on_error not in ("stop", "skip"):
            raise DataError(f"on_error must be 'stop' or 'skip', got {self.on_error!r}")
        self.batch, self.chunk = int(self.batch), int(self.chunk)  # also NumPy's numbers
        if min(self.batch, self.chunk, len(self.scenes)) < 1:
            raise DataError("a study needs an image, and batch and chunk of at least 1")

    @cached_property
    def truth(self) -> Tensor | None:
        """The class of each image, if all are known."""
        return category_index(self.model, self.scenes)

    @cached_property
    def examples(self) -> Tensor:
        """A few images at the largest scale."""
        return example(self.scenes, self.where, self.grid, skip=self.on_error == "skip")

    @cached_property
    def units(self) -> list[Unit]:
        """The units that were asked for; those that were found before are not looked for again."""
        if isinstance(self.names, list) and all(isinstance(unit, Unit) for unit in self.names):
            return self.names
        return choose(self.model, self.examples, self.names)

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """All that is kept."""
        return OWN | self.measure.variables(self)

    @cached_property
    def tasks(self) -> int:
        """How many there are."""
        return -(-len(self.scenes) // self.chunk)

    def labels(self) -> xr.Dataset:
        """Return coordinates and attributes; the same attributes mean the same numbers."""
        coords: dict[str, Any] = {
            "image": ("image", list(self.scenes.ids), {"long_name": "image"}),
            "category": ("image", list(self.scenes.category), {"long_name": "category"}),
            "scale": ("scale", self.grid, {"long_name": "scale", "units": "1"}),
        }
        attrs = described(self.model, self.scenes, self.grid) | {
            "units": list(labels(self.units)),
            "batch": self.batch,
            "chunk": self.chunk,
            "device": self.where.type,
            **self.measure.options,
        }
        if not self.scenes.source.threads:  # what is read may be mended; `compare` looks at it
            attrs["source_sha256"] = sha256_of([self.scenes.content.tobytes()])
        made = xr.Dataset(coords=coords | self.measure.coords(self))
        return made.assign_attrs(json.loads(json.dumps(attrs)))

    def prepare(self, kept: Kept) -> list[int]:
        """Create the store, or check that it holds this study; return the tasks left."""
        labelled = self.labels()
        kept.create(labelled, self.variables, len(self.scenes), self.chunk)
        held = kept.attributes()
        mine = labelled.attrs
        different = [key for key in sorted({*held, *mine}) if held.get(key) != mine.get(key)]
        if different:
            said = "; ".join(f"{k} {held.get(k)!r}, here {mine.get(k)!r}" for k in different[:3])
            raise DataError(
                f"{kept} holds another study ({said}); give another store, or the same model, "
                "data and parameters"
            )
        left = kept.pending()
        for index, content in kept.contents(set(left)).items():
            if self.scenes.source.threads and self.scenes[index].content[0] != content:
                raise DataError(
                    f"{kept} holds another study: image {self.scenes.ids[index]!r} has "
                    "changed since it was measured; give another store, or put the image back"
                )
        return left

    def compute(self, kept: Kept, tasks: Iterable[int]) -> Iterator[int]:
        """Measure and write task after task; yield each when it is done."""
        queue = [(task, range(task * self.chunk, len(self.scenes))[: self.chunk]) for task in tasks]
        parts = [
            numbers[start : start + self.batch]
            for _, numbers in queue
            for start in range(0, len(numbers), self.batch)
        ]
        with closing(self.measured(parts)) as stream:
            for task, numbers in queue:
                arrays = blanks(self.variables, len(self.grid), len(numbers))
                seen = 0
                while seen < len(numbers):
                    part, rows, problems = next(stream)
                    fill(arrays, self.variables, rows, problems, seen, len(part))
                    seen += len(part)
                kept.write(task, arrays, self.variables)
                yield task

    def measured(
        self, parts: Iterable[range]
    ) -> Generator[tuple[range, list[Any], dict[int, str]]]:
        """Measure part after part, while the scenes of the next are made beside the model."""
        skip = self.on_error == "skip"

        def render(part: range, scale: float, load: Callable[[], Ready]) -> tuple[Any, ...]:
            here = load()
            return part, scale, here, here.render(scale) if len(here) else None

        def jobs() -> Iterator[Callable[[], Any]]:
            for part in parts:
                scenes = self.scenes[part.start : part.stop]
                load = cache(partial(scenes.ready, self.where, self.grid, skip=skip))
                for scale in self.grid:
                    yield partial(render, part, scale, load)

        rows: list[Any] = []
        for part, scale, here, images in ahead(jobs()):
            problems = dict(here.problems)
            numbers = [part[place] for place in range(len(part)) if place not in problems]
            row: dict[str, np.ndarray] = {}
            if images is not None:
                truth = None if self.truth is None else self.truth[numbers]
                batch = Batch(images, scale, here, numbers, truth, self.units)
                row = self.measure(self.model, batch)
                row["area"], row["content"] = here.areas.float().cpu().numpy(), here.content
            rows.append(row)
            if len(rows) == len(self.grid):
                yield part, rows, problems
                rows = []


def assembled(study: Study, rows: Sequence[Mapping[str, np.ndarray]]) -> xr.Dataset:
    """Return as a study would what was measured otherwise: all its images, scale by scale."""
    kept, count = Memory(), len(study.scenes)
    kept.create(study.labels(), study.variables, count, count)
    arrays = blanks(study.variables, len(study.grid), count)
    fill(arrays, study.variables, rows, {}, 0, count)
    kept.write(0, arrays, study.variables)
    return kept.finish()


def run(
    model: nn.Module,
    scenes: Scenes,
    scales: list[float],
    measure: Measure,
    *,
    units: Any = None,
    store: str | os.PathLike[str] | None = None,
    client: Client | None = None,
    on_error: str = "stop",
    batch: int | None = None,
    chunk: int = 128,
    device: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Measure scenes at scales.

    Parameters
    ----------
    model
        Comes back as it was, on the device it was on.
    scenes, scales, measure
        What is shown, at which scales, and what is measured.
    units
        Names, units, or one of them; by default all that can be shown.
    store
        Keep the result in this Zarr store instead of in memory, and go on where a killed study
        into it stopped.
    client
        With a store: a Dask client whose workers do the tasks (`skviz.studies.cluster`).
    on_error
        ``"stop"`` at an image that cannot be read, or ``"skip"`` it and name it in the variable
        ``problem``.
    batch
        Scenes per forward pass. By default 32; on a CPU, which is quickest while what it works on
        fits its caches, as many as have 2¹⁷ pixels together, at most 64.
    chunk
        Images per task, which is one chunk of every array.
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once it has taken two seconds.

    Returns
    -------
    xarray.Dataset
        What the measure gives; from a store, read when it is used.
    """
    where = devices.resolve(device)
    batch = batch_size(scenes, where) if batch is None else batch
    if client is not None and store is None:
        raise DataError("client is for a study into a store, which all workers see; give store=")
    study = Study(model, scenes, scales, measure, units, batch, chunk, on_error, where)
    kept = keeper(store)
    with at_rest(model, where):
        left = study.prepare(kept)
        sizes = {task: min(chunk, len(scenes) - task * chunk) for task in left}
        bar = tqdm(
            total=len(scenes),
            initial=len(scenes) - sum(sizes.values()),
            desc=kept.name or type(measure).__name__.lower(),
            unit="image",
            delay=2,
            disable=not progress,
        )
        if client is None:
            done = study.compute(kept, left)
        else:
            from skviz.studies.cluster import spread  # a worker's view of a study: Dask is optional

            done = spread(study, kept, left, client)
        with bar:
            for task in done:
                bar.update(sizes[task])
    return kept.finish()


def keeper(path: str | os.PathLike[str] | None) -> Kept:
    """Return where a result is kept: in memory, or on a disk."""
    return Memory() if path is None else Disk(Path(path))
