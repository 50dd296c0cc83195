"""``readings``: weights of pictures as they are, beside what can be measured of these pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import nn

from skviz.capture import Unit
from skviz.errors import Count, entrance
from skviz.scenes.properties import PROPERTIES, of_mask, properties
from skviz.studies.keeping import Variable
from skviz.studies.options import Client, Options
from skviz.studies.study import Batch, Study, run
from skviz.studies.sweeps import EACH, Weights

OF_MASK = ("coverage", "size")  # of what is object: share of the picture, longer side


@dataclass(frozen=True)
class Readings(Weights):
    """Branch weights, and properties of the pictures that made them."""

    pictures: bool = False
    name: ClassVar[str] = "readings"

    def variables(self, study: Study) -> dict[str, Variable]:
        """List what is kept of every image."""
        said, count = "property of the picture", len(names(study))
        picture = Variable(EACH, ("property",), (count,), "f8", said, "")
        return super().variables(study) | {"picture": picture}

    def coords(self, study: Study) -> dict[str, Any]:
        """Name units, branches, kernels and properties."""
        said = {"long_name": "property"}
        return super().coords(study) | {"property": ("property", names(study), said)}

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Measure a batch, and what it looks like."""
        mask = batch.ready.mask(batch.scale)
        known = () if mask is None else of_mask(mask.cpu())
        parts = [properties(batch.images.cpu()), *(each[:, None].double() for each in known)]
        return super().__call__(model, batch) | {"picture": torch.cat(parts, 1).numpy()}


def names(study: Study) -> list[str]:
    """Name what can be measured of the scenes of a study."""
    return [*PROPERTIES, *(OF_MASK if study.scenes.protocol == "rescale" else ())]


@entrance
def readings(
    model: nn.Module,
    scenes: Any,
    *,
    scales: Sequence[float] = (1.0,),
    units: str | Unit | Iterable[str | Unit] | None = None,
    channels: bool = False,
    batch: Count | None = None,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
) -> xr.Dataset:
    """Record weights, and measure the pictures that caused them: nothing is manipulated.

    ``skviz.stats.explained`` says how much of the one the other explains.

    Parameters
    ----------
    model, scenes, units, batch, device, progress, store, chunk, on_error, client
        As `skviz.sweep` takes them.
    scales
        At which scenes are shown; each makes a picture of its own.
    channels
        Keep the weight of every channel.

    Returns
    -------
    xarray.Dataset
        A sweep, and ``picture`` (image, scale, property): spectral centroid, density of edges,
        contrast, brightness, colourfulness; and where the object is known its coverage and size.

    Raises
    ------
    SkvizError
        As `skviz.sweep` does.

    Examples
    --------
    >>> import skviz
    >>> ds = skviz.readings(skviz.load("objects"), skviz.place(skviz.objects(category="bus")))
    >>> ds.sizes["image"]
    6
    """
    options = Options(units, batch, device, progress, store, chunk, on_error, client)
    return run(model, scenes, scales, Readings(channels=channels), options)
