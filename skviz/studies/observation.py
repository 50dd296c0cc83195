"""``readings``: weights of pictures as they are, beside what can be measured of these pictures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from skviz.capture import Unit
from skviz.errors import entrance
from skviz.scenes.properties import PROPERTIES, of_mask, properties
from skviz.scenes.source import Scenes
from skviz.studies.setting import as_scenes
from skviz.studies.sweeps import sweep

PART = 128  # scenes that are in memory at once
OF_MASK = ("coverage", "size")  # of what is object: share of the picture, longer side


@entrance
def readings(
    model: nn.Module,
    scenes: Any,
    *,
    scales: Sequence[float] = (1.0,),
    units: str | Unit | Iterable[str | Unit] | None = None,
    channels: bool = False,
    device: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Record weights, and measure the pictures that caused them: nothing is manipulated.

    ``skviz.stats.explained`` says how much of the one the other explains.

    Parameters
    ----------
    model, scenes, units, device, progress
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
    shown = as_scenes(model, scenes)
    ds = sweep(
        model, shown, scales=scales, units=units, channels=channels, device=device,
        progress=progress,
    ).drop_vars("thumbnail")  # fmt: skip
    rows = [measured(shown[i : i + PART], scales) for i in range(0, len(shown), PART)]
    values = torch.cat(rows)  # (image, scale, property)
    names = [*PROPERTIES, *OF_MASK][: values.shape[-1]]
    ds["picture"] = (("image", "scale", "property"), values.numpy())
    ds["picture"].attrs = {"long_name": "property of the picture"}
    return ds.assign_coords(property=names).assign_attrs(study="readings")


def measured(scenes: Scenes, scales: Sequence[float]) -> Tensor:
    """Measure scenes at scales, (image, scale, property)."""
    here, found = scenes.ready("cpu", [float(scale) for scale in scales]), []
    for scale in scales:
        row = properties(here.render(float(scale)))
        mask = here.mask(float(scale))
        known = () if mask is None else of_mask(mask)
        found.append(torch.cat([row, *(each[:, None].double() for each in known)], 1))
    return torch.stack(found, 1)
