"""``controls``: what a network's units do when something else changes than the object's size.

The result is one `xarray.Dataset`:

========================  ============================  =========================================
``attention_difference``  control, image, scale, unit   the paper's measure
``shift``                 control, image, unit          its change from first to last scale
``coverage``              control, image, scale         share of the picture that is object
``gain``                  control, unit                 of an untrained network's selection logits
========================  ============================  =========================================

The first control is ``object``, the claim itself: the model shown the scenes. ``untrained 1``, …
are networks of the same architecture shown the same scenes; the others are the model shown other
scenes (`skviz.scenes.changes`). ``skviz.stats.compare`` tests the one against the others.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import xarray as xr
from tqdm import tqdm

from skviz import stats
from skviz.capture.interventions import intervene
from skviz.capture.recording import record
from skviz.errors import SkvizError
from skviz.models import device as devices
from skviz.scenes.changes import CONTROL_SCENES, changed
from skviz.studies.sweeps import (
    as_scenes,
    at_rest,
    checked,
    choose,
    cut,
    described,
    example,
    labelled,
    labels,
    measurements,
)
from skviz.studies.untrained import untrained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from skviz.capture import Unit
    from skviz.scenes.cutouts import Objects
    from skviz.scenes.layers import Ready
    from skviz.scenes.source import Scenes

__all__ = ["CLAIM", "controls"]

CLAIM = "object"
SAMPLE = 32  # scenes, at every scale, on which gains are measured


def controls(
    model: nn.Module,
    source: Objects | Scenes,
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
        background enlarged; ``position``, an object that moves to the border; ``copies``, objects
        that stay as large and become more, covering as much as growth would; ``size``, objects
        that grow and become fewer, covering the same; both also ``… scattered``, at random places
        instead of on a grid.
    seeds
        How many untrained networks. Their selection logits are multiplied so that they vary over
        images as much as the model's (``gain``): small logits alone would hold any weight still.
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
    where = devices.resolve(device)
    measured: dict[str, xr.Dataset] = {}
    total = 1 + len(names) + seeds
    bar = tqdm(total=total, desc="controls", unit="control", delay=2, disable=not progress)
    with at_rest(model, where), bar:
        found = choose(model, example(scenes, where, grid), units)

        def keep(name: str, network: nn.Module, shown: Scenes, gain: list[float]) -> None:
            known = differences(network, shown, grid, found, batch, where)
            measured[name] = known.assign(gain=("unit", gain))
            bar.update()

        own = [1.0] * sum(unit.calls for unit in found)
        keep(CLAIM, model, scenes, own)
        for name in names:
            keep(name, model, changed(scenes, name, grid), own)
        few = list(batches(scenes[:SAMPLE], grid, batch, where))
        for seed in range(1, seeds + 1):
            network = untrained(model, batches(scenes, grid, batch, where), seed=seed)
            changes = gains(model, network, few, found)
            gain = [changes[unit.name].gain for unit in found for _ in range(unit.calls)]
            with intervene(network, changes, units=found):
                keep(f"untrained {seed}", network, scenes, gain)
    ds = xr.concat(list(measured.values()), "control", coords="minimal", compat="override")
    ds = ds.assign_coords(control=list(measured))
    ds["shift"] = stats.ends(ds["attention_difference"])
    options = {"units": list(labels(found)), "batch": batch, "device": where.type, "seeds": seeds}
    return ds.assign_attrs(described(model, scenes, grid, **options))


def differences(
    model: nn.Module,
    shown: Scenes,
    grid: Sequence[float],
    found: Sequence[Unit],
    size: int,
    device: torch.device,
) -> xr.Dataset:
    """Attention differences (image, scale, unit) of scenes, and how much of them is object."""
    rows = [row for row, _ in measurements(model, cut(shown, size), grid, found, device)]
    stacked = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
    tree = labelled(stacked, labels(found), shown, grid, None)
    here = [part.ready(device, grid) for part in cut(shown, size)]
    coverage = [np.concatenate([share(part, scale) for part in here]) for scale in grid]
    ds = stats.attention_difference(tree).rename("attention_difference").to_dataset()
    return ds.assign(coverage=(("image", "scale"), np.stack(coverage, 1)))


def share(scenes: Ready, scale: float) -> np.ndarray:
    """How much of each picture is object at a scale, (image,); NaN if that is not known."""
    mask = scenes.mask(scale)
    if mask is None:
        return np.full(len(scenes), np.nan)
    return mask.mean((1, 2)).cpu().numpy()


@dataclass(frozen=True)
class Sharpen:
    """Weights whose logits are multiplied by a gain."""

    gain: float

    def __call__(self, weights: Tensor) -> Tensor:
        """Return the weights (image, branch, channel…) of the multiplied logits."""
        return (self.gain * logits(weights)).softmax(1)


def logits(weights: Tensor) -> Tensor:
    """Return what a softmax over branches would give these weights for."""
    return weights.clamp(min=torch.finfo(weights.dtype).tiny).log()


def gains(
    model: nn.Module, other: nn.Module, images: Sequence[Tensor], units: Sequence[Unit]
) -> dict[str, Sharpen]:
    """Find by how much another network's logits are to be multiplied to vary as the model's do.

    One unit after the other, since those before change what it sees.
    """
    aim = variation(model, images, units)
    found: dict[str, Sharpen] = {}
    for unit in units:
        with ExitStack() as stack:
            if found:
                stack.enter_context(intervene(other, found, units=units))
            own = variation(other, images, units)[unit.name]
        found[unit.name] = Sharpen(aim[unit.name] / own if own > 0 else 1.0)
    return found


def variation(
    model: nn.Module, images: Sequence[Tensor], units: Sequence[Unit]
) -> dict[str, float]:
    """Root mean square over branches and channels of the logits' standard deviation over images."""
    with torch.inference_mode(), record(model, units, reduce="spatial_mean") as recording:
        for batch in images:
            model(batch)
    found: dict[str, float] = {}
    recorded = iter(recording.weights.values())
    for unit in units:
        calls = [logits(next(recorded).double()) for _ in range(unit.calls)]
        centred = torch.cat([each - each.mean(1, keepdim=True) for each in calls], 2)
        found[unit.name] = float(centred.var(0).mean().sqrt())
    return found


def batches(
    scenes: Scenes, scales: Sequence[float], size: int, device: torch.device
) -> Iterator[Tensor]:
    """Render the scenes at all scales, batch by batch."""
    for start in range(0, len(scenes), size):
        part = scenes[start : start + size].ready(device, scales)
        for scale in scales:
            yield part.render(scale)
