"""``controls``: what a network's units do when something else changes than the object's size.

The result is one `xarray.Dataset`:

========================  ============================  =========================================
``attention_difference``  control, image, scale, unit   the paper's measure
``shift``                 control, image, unit          its change from first to last scale
========================  ============================  =========================================

The first control is ``object``, the claim itself: the model shown the scenes. ``untrained 1``, …
are networks of the same architecture shown the same scenes; the others are the model shown other
scenes (`skviz.scenes.changes`). ``skviz.stats.compare` tests the one against the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from skviz import stats
from skviz.errors import SkvizError
from skviz.models import device as devices
from skviz.scenes.changes import CONTROL_SCENES, with_objects
from skviz.studies.sweeps import as_scenes, at_rest, checked, provenance, sweep
from skviz.studies.untrained import untrained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import Tensor, nn

    from skviz.scenes import cutouts
    from skviz.scenes.source import Source

__all__ = ["CLAIM", "controls"]

CLAIM = "object"


def controls(
    model: nn.Module,
    source: cutouts.Objects | Source,
    *,
    scales: Sequence[float] = (0.5, 1.0, 2.0),
    names: Sequence[str] = tuple(CONTROL_SCENES),
    seeds: int = 3,
    units: Sequence[str] | None = None,
    batch: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Run a claim about object scale together with everything that might explain it otherwise.

    Parameters
    ----------
    model
        Any classifier whose units' kernels are known; it comes back as it was.
    source
        Scenes or cut-outs, as `skviz.sweep` takes them.
    scales
        At least two, increasing.
    names
        Which scenes to compare with: ``scrambled``, the pixels inside the object in random order;
        ``silhouette``, the outline in the object's mean colour; ``blur``, an object that stays as
        large and loses the detail that growth would spread out; ``background``, no object, the
        background enlarged; ``position``, an object that moves to the border.
    seeds
        How many untrained networks.
    units, batch, device, progress
        As `skviz.sweep` takes them.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it.

    Raises
    ------
    SkvizError
        If there is only one scale, a control is not known, or as `skviz.sweep` does.
    SceneError
        If the scenes have no object that could be changed (use ``names=()``).
    """
    grid, scenes = checked(scales), as_scenes(model, source)
    if len(grid) < 2:
        raise SkvizError("controls compare scales; give at least two")
    unknown = [name for name in names if name not in CONTROL_SCENES]
    if unknown:
        raise SkvizError(f"no control {unknown[0]!r}; there are {', '.join(CONTROL_SCENES)}")
    runs: dict[str, tuple[nn.Module, Source]] = {CLAIM: (model, scenes)}
    for name in names:
        runs[name] = (model, CONTROL_SCENES[name](with_objects(scenes), grid))
    where = devices.resolve(device)
    with at_rest(model, where):
        for seed in range(1, seeds + 1):
            images = batches(scenes, grid, batch, where)
            runs[f"untrained {seed}"] = (untrained(model, images, seed=seed), scenes)
    measured = {}
    for name, (network, shown) in runs.items():
        tree = sweep(
            network, shown, scales=grid, units=units, batch=batch, device=device, progress=progress
        )
        measured[name] = stats.attention_difference(tree)
    difference = xr.concat(list(measured.values()), "control", coords="minimal", compat="override")
    ds = difference.rename("attention_difference").to_dataset()
    ds = ds.assign_coords(control=list(measured))
    ds["shift"] = ds["attention_difference"].isel(scale=-1, drop=True) - ds[
        "attention_difference"
    ].isel(scale=0, drop=True)
    return ds.assign_attrs(provenance(model) | scenes.attrs)


def batches(
    scenes: Source, scales: Sequence[float], size: int, device: torch.device
) -> Iterator[Tensor]:
    """Render the scenes at all scales, batch by batch."""
    for start in range(0, len(scenes), size):
        part = scenes[start : start + size].to(device)
        for scale in scales:
            yield part.render(scale)
