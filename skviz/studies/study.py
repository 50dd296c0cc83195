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
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from skviz.capture import Unit, Units, units_of
from skviz.capture.interventions import changed_units
from skviz.errors import DataError, SkvizError
from skviz.models import device as devices
from skviz.scenes.made import sha256_of
from skviz.scenes.ready import Ready
from skviz.scenes.source import Scenes
from skviz.studies import replicas, setting
from skviz.studies.disk import Disk
from skviz.studies.keeping import Memory, Variable
from skviz.studies.options import Options
from skviz.studies.store import folder

HALF = {torch.float16, torch.bfloat16}
OWN = {
    "area": Variable("image", (), (), "f4", "share of the scene that is object at scale 1", "1"),
    "content": Variable("image", (), (), "u8", "64 bits of the sha256 of the image", "1", 0),
    "problem": Variable("image", (), (), "U", "why the image was skipped", "", ""),
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
    numbers, study
        Which of the study's images they are.
    """

    images: Tensor
    scale: float
    ready: Ready
    numbers: Sequence[int]
    study: Study

    @property
    def units(self) -> list[Unit]:
        """Of the model, that were asked for."""
        return self.study.units

    @property
    def truth(self) -> Tensor | None:
        """(B,) their classes, where these are known."""
        return None if self.study.truth is None else self.study.truth[self.numbers]


class Measure(Protocol):
    """What is measured of a model that is shown scenes; ``name`` is that of the entry point."""

    name: ClassVar[str]
    needs_units: ClassVar[bool]  # whether it is about the units of the model that are asked for

    @property
    def in_turn(self) -> bool:
        """Whether batches have to be measured one after the other."""

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
    options
        As asked for; then with the batch and the device that are meant.
    """

    model: nn.Module
    scenes: Scenes
    grid: list[float]
    measure: Measure
    options: Options

    def __post_init__(self) -> None:
        batch, self.chunk = self.options.batch, self.options.chunk
        self.where = devices.resolve(self.options.device)
        self.batch = setting.batch_size(self.scenes, self.where) if batch is None else batch
        if not len(self.scenes):
            raise DataError("a study needs an image")
        self.options = replace(self.options, batch=self.batch, device=str(self.where))

    @cached_property
    def truth(self) -> Tensor | None:
        """The class of each image, if all are known."""
        return setting.category_index(self.model, self.scenes)

    @cached_property
    def found(self) -> Units:
        """The units of the model, found on a few images at the largest scale."""
        return units_of(self.model, self.few)

    @cached_property
    def few(self) -> Tensor:
        """A few images at the largest scale."""
        problems: Mapping[int, str] = {}
        for start in range(0, len(self.scenes), 3):
            here = self.ready(self.scenes[start : start + 3])
            if len(here):
                return here.render(self.grid[-1])
            problems = here.problems
        raise SkvizError(f"no image can be used; the last one: {problems[max(problems)]}")

    @cached_property
    def units(self) -> list[Unit]:
        """The units that were asked for; those that were found before are not looked for again."""
        asked = self.options.units
        if not self.measure.needs_units:
            return []
        if asked and isinstance(asked, list) and all(isinstance(unit, Unit) for unit in asked):
            return asked
        return setting.choose(self.found, asked)

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """All that is kept."""
        return OWN | self.measure.variables(self)

    def ready(self, scenes: Scenes) -> Ready:
        """Read some of the scenes."""
        skip = self.options.on_error == "skip"
        return scenes.ready(self.where, self.grid, skip=skip)

    @property
    def coarse(self) -> bool:
        """Whether it is computed in 16 bits, so that numbers depend on what shares a batch."""
        kinds = {parameter.dtype for parameter in self.model.parameters()}
        return self.measure.options.get("precision") == "bfloat16" or bool(kinds & HALF)

    def alone(self, number: int) -> dict[str, np.ndarray]:
        """Measure one image at the first scale."""
        here, scale = self.ready(self.scenes[[number]]), self.grid[0]
        if not len(here):
            return {}
        return self.measure(self.model, Batch(here.render(scale), scale, here, [number], self))

    def labels(self) -> xr.Dataset:
        """Return coordinates and attributes; the same attributes mean the same numbers."""
        coords: dict[str, Any] = {
            "image": ("image", list(self.scenes.ids), {"long_name": "image"}),
            "category": ("image", list(self.scenes.category), {"long_name": "category"}),
            "scale": ("scale", self.grid, {"long_name": "scale", "units": "1"}),
        }
        attrs = setting.described(self.model, self.scenes, self.grid) | {
            "study": self.measure.name,
            "units": list(setting.labels(self.units)),
            "batch": self.batch,
            "chunk": self.chunk,
            "device": self.where.type,
            **self.measure.options,
        }
        if changed := changed_units():
            attrs["changed"] = changed
        if not self.scenes.source.threads:  # what is read may be mended; `Disk` looks at it
            attrs["source_sha256"] = sha256_of([self.scenes.content.tobytes()])
        made = xr.Dataset(coords=coords | self.measure.coords(self))
        return made.assign_attrs(json.loads(json.dumps(attrs)))

    @property
    def tasks(self) -> list[int]:
        """Their numbers."""
        return list(range(-(-len(self.scenes) // self.chunk)))

    def images(self, task: int) -> range:
        """Return the numbers of a task's images."""
        return range(len(self.scenes))[task * self.chunk : (task + 1) * self.chunk]

    def parts(self, task: int) -> list[range]:
        """Cut a task into batches."""
        numbers = self.images(task)
        return [numbers[at : at + self.batch] for at in range(0, len(numbers), self.batch)]

    def compute(self, kept: Memory | Disk, tasks: Sequence[int]) -> Iterator[int]:
        """Measure task after task; yield after each batch at each scale how many scenes it had."""
        with devices.memory_kept(), closing(self.measured(tasks)) as stream:
            for task in tasks:
                numbers = self.images(task)
                arrays = {
                    name: variable.blank(len(self.grid), len(numbers))
                    for name, variable in self.variables.items()
                }
                for part in self.parts(task):
                    for at in range(len(self.grid)):
                        batch, row = next(stream)
                        for place, why in batch.ready.problems.items():
                            arrays["problem"][part[place] - numbers.start] = why
                        there = [number - numbers.start for number in batch.numbers]
                        for name, values in row.items():
                            self.variables[name].put(arrays[name], values, at, there)
                        yield len(part)
                kept.write(task, arrays)

    def measured(self, tasks: Sequence[int]) -> Generator[tuple[Batch, dict[str, np.ndarray]]]:
        """Measure batch by batch, scale by scale; of a batch of which nothing was read, nothing."""

        def measure(model: nn.Module, made: Batch | SkvizError) -> Any:
            if isinstance(made, SkvizError):
                raise made
            if not made.numbers:
                return made, {}
            own = {"area": made.ready.areas.float().cpu().numpy(), "content": made.ready.content}
            return made, self.measure(model, made) | own

        if not self.replicas:
            return (measure(self.model, made) for made in self.renderings(tasks))
        return replicas.side_by_side(measure, self.renderings(tasks), self.replicas)

    @cached_property
    def replicas(self) -> list[nn.Module]:
        """The model, and copies of it, to measure batches side by side; none if that cannot be."""
        if self.measure.in_turn:
            return []
        batches = -(-len(self.scenes) // self.batch) * len(self.grid)
        return replicas.replicate(self.model, self.few, self.units, batches)

    def renderings(self, tasks: Sequence[int]) -> Iterator[Batch | SkvizError]:
        """Read and render; last of all, when it is its turn, comes what stops the study."""
        try:
            for part in (part for task in tasks for part in self.parts(task)):
                here = self.ready(self.scenes[part.start : part.stop])
                read = [part[at] for at in range(len(part)) if at not in here.problems]
                for scale in self.grid:
                    images = here.render(scale) if read else torch.empty(0)
                    yield Batch(images, scale, here, read, self)
        except SkvizError as stops:
            yield stops


def run(
    model: nn.Module,
    scenes: Any,
    scales: Sequence[float] | None,
    measure: Measure,
    options: Options,
) -> xr.Dataset:
    """Measure scenes at scales.

    Parameters
    ----------
    model
        Comes back as it was, on the device it was on.
    scenes, scales, measure
        What is shown, at which scales, and what is measured.
    options
        How.

    Returns
    -------
    xarray.Dataset
        What the measure gives; from a store, read when it is used.
    """
    shown = setting.as_scenes(model, scenes)
    study = Study(model, shown, setting.checked(scales, shown), measure, options)
    store, client = options.store, options.client
    if not (client is None or hasattr(client, "register_plugin")):
        raise DataError(f"client must be a Client of Dask, got {type(client).__name__}")
    if client is not None and store is None:
        raise DataError("client is for a study into a store, which all workers see; give store=")
    if client is not None and (changed_units() or replicas.in_context(study.where)):
        raise DataError(
            "the workers of client do not see a context around this (skviz.intervene, autocast, a "
            "mode of PyTorch's); leave it, or the client"
        )
    kept = Memory() if store is None else Disk(folder(store))
    with closing(kept), setting.at_rest(model, study.where):
        left = kept.prepare(study)
        scales_each = len(study.grid)
        waiting = sum(len(study.images(task)) for task in left)
        done = study.compute(kept, left)
        if client is not None and isinstance(kept, Disk):
            from skviz.studies.cluster import spread  # a worker's view of a study: Dask is optional

            done = spread(study, kept, left, client)
        with tqdm(
            total=len(shown) * scales_each,
            initial=(len(shown) - waiting) * scales_each,
            desc=kept.name or measure.name,
            unit="scene",
            delay=2,
            disable=not options.progress,
        ) as bar:
            for scenes_done in done:
                bar.update(scenes_done)
        return kept.finish()
