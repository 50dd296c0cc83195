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

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from skviz import stats
from skviz.capture import Unit
from skviz.capture.interventions import intervene
from skviz.capture.recording import record
from skviz.errors import Count, SkvizError, entrance
from skviz.scenes.changes import CONTROL_SCENES
from skviz.scenes.source import Scenes
from skviz.studies.options import Client, Options
from skviz.studies.setting import as_scenes, at_rest, checked
from skviz.studies.study import Study, run
from skviz.studies.sweeps import Weights
from skviz.studies.untrained import untrained

CLAIM = "object"
NAMES = {
    "attention_difference": ("attention difference", "1"),
    "shift": ("change of the attention difference", "1"),
    "coverage": ("share of the picture that is object", "1"),
    "gain": ("factor of the selection logits", "1"),
}
SAMPLE = 32  # scenes, at every scale, on which gains are measured


@entrance
def controls(
    model: nn.Module,
    scenes: Any,
    *,
    scales: Sequence[float] = (0.5, 1.0, 2.0),
    names: Sequence[str] = tuple(CONTROL_SCENES),
    seeds: Annotated[int, range(2**31)] = 3,
    units: str | Unit | Iterable[str | Unit] | None = None,
    batch: Count = 32,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
) -> xr.Dataset:
    """Run a claim about object scale together with everything that might explain it otherwise.

    Parameters
    ----------
    model
        Any classifier whose units' kernels are known; it comes back as it was.
    scenes
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
    store
        A folder for one store of each control.
    units, batch, device, progress, chunk, on_error, client
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

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))
    >>> found = skviz.controls(model, scenes, scales=[0.5, 1.0], names=["blur"], progress=False)
    >>> found["control"].values.tolist()
    ['object', 'blur', 'untrained 1', 'untrained 2', 'untrained 3']
    """
    shown = as_scenes(model, scenes)
    options = Options(units, batch, device, False, None, chunk, on_error, client)
    measure = Weights(channels=False, coverage=True, pictures=False)
    claim = Study(model, shown, checked(scales, shown), measure, options)
    if len(claim.grid) < 2:
        raise SkvizError("controls compare scales; give at least two")
    others = {name: shown.changed(name, claim.grid) for name in names}
    measured: dict[str, xr.Dataset] = {}
    folder = None if store is None else Path(store)

    def keep(name: str, network: nn.Module, given: Scenes, gain: Sequence[float]) -> None:
        place = None if folder is None else folder / f"{name}.zarr"
        here = replace(options, units=claim.units, store=place)
        ds = run(network, given, claim.grid, measure, here)
        kept = stats.attention_difference(ds).rename("attention_difference").to_dataset()
        measured[name] = kept.assign(coverage=ds["coverage"], gain=("unit", list(gain)))
        measured[name].attrs = ds.attrs
        bar.update()

    with (
        at_rest(model, claim.where),
        tqdm(
            total=1 + len(names) + seeds, desc="controls", unit="control", delay=2,
            disable=not progress,
        ) as bar,
    ):  # fmt: skip
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        own = [1.0] * sum(unit.calls for unit in claim.units)
        keep(CLAIM, model, shown, own)
        for name, changed in others.items():
            keep(name, model, changed, own)
        few = list(batches(claim, shown[:SAMPLE]))
        for seed in range(1, seeds + 1):
            network = untrained(model, batches(claim, shown), seed=seed)
            changes = gains(model, network, few, claim.units)
            gain = [changes[unit.name].gain for unit in claim.units for _ in range(unit.calls)]
            with intervene(network, changes, units=claim.units):
                keep(f"untrained {seed}", network, shown, gain)
    ds = xr.concat(
        list(measured.values()), "control", coords="minimal", compat="override",
        combine_attrs="override",
    )  # fmt: skip
    ds = ds.assign_coords(control=("control", list(measured), {"long_name": "control"}))
    ds["shift"] = stats.ends(ds["attention_difference"])
    for name, (long_name, unit) in NAMES.items():
        ds[name].attrs = {"long_name": long_name, "units": unit}
    return ds.assign_attrs(
        measured[CLAIM].attrs | {"study": "controls", "seeds": seeds, "names": list(names)}
    )


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
    kept = recording.weights
    for unit in units:
        calls = [logits(kept[name].double()) for name in unit.call_names]
        centred = torch.cat([each - each.mean(1, keepdim=True) for each in calls], 2)
        found[unit.name] = float(centred.var(0).mean().sqrt())
    return found


def batches(study: Study, scenes: Scenes) -> Iterator[Tensor]:
    """Render scenes at all scales of a study, batch by batch."""
    for start in range(0, len(scenes), study.batch):
        part = study.ready(scenes[start : start + study.batch])
        pictures = [part.render(scale) for scale in study.grid] if len(part) else []
        yield from [torch.cat(pictures)] if len(part) == 1 else pictures  # norms want two images
