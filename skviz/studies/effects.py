"""Change the selection of a model and measure what becomes of its answers.

The result is one `xarray.Dataset`. It holds what every study has (`skviz.studies.study`), and
these, all of them (intervention, unit, image, scale); of a model that gives something else than
logits, only the last:

========================  ==========================================================
``prediction``            index of the predicted class, as a float
``probability``           its softmax probability
``correct``               1 if it is the category, 0 if not, where both are known
``category_probability``  softmax probability of the category, where both are known
``change``                root mean square, over the numbers that the model gives for an image, of
                          their difference from what it gives undisturbed; in their units
========================  ==========================================================

Words are those of a sweep (`skviz.studies.sweeps`). The first intervention is ``natural``, none
at all, the same for every unit; the last unit is ``all``, all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from skviz.capture import Unit
from skviz.capture.interventions import Ablate, Force, intervene
from skviz.capture.recording import record
from skviz.errors import Count, InterventionError, SkvizError, entrance
from skviz.scenes.made import sha256_of, step
from skviz.scenes.source import Scenes
from skviz.studies.keeping import Variable
from skviz.studies.options import Client, Options
from skviz.studies.setting import answers, are_logits, as_scenes, judge, probabilities
from skviz.studies.study import Batch, Study, run
from skviz.studies.swaps import Swap, donor, fitted
from skviz.studies.sweeps import gives_logits

NATURAL, ALL = "natural", "all"


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answers while units are interfered with.

    Attributes
    ----------
    interventions
        As `effect` takes them.
    donors
        The scenes that each swap takes its weights from.
    """

    interventions: Mapping[str, Any]
    donors: Mapping[Swap, Scenes]
    name: ClassVar[str] = "effect"
    needs_units: ClassVar[bool] = True

    @property
    def in_turn(self) -> bool:
        """Functions of somebody's own may remember what they were asked before."""
        return any(map(callable, asked(self.interventions)))

    @property
    def options(self) -> dict[str, Any]:
        """What is done, in this order."""
        return {"interventions": [[name, said(what)] for name, what in self.interventions.items()]}

    def variables(self, study: Study) -> dict[str, Variable]:
        """Say what is kept."""
        plan(self.interventions, study.units)  # complain now
        dims = ("intervention", "unit")
        size = (1 + len(self.interventions), 1 + len(study.units))
        names = {"change": ("root mean square change of what the model gives", "")}
        if gives_logits(study):
            names = answers(study.truth)
            if study.truth is not None:
                names["category_probability"] = ("softmax probability of the category", "1")
        each = "image scale"
        return {name: Variable(each, dims, size, "f4", *about) for name, about in names.items()}

    def coords(self, study: Study) -> dict[str, Any]:
        """Say what is done to what."""
        names = [*(unit.name or "model" for unit in study.units), ALL]
        said = {"long_name": "intervention"}
        return {
            "intervention": ("intervention", [NATURAL, *self.interventions], said),
            "unit": ("unit", names, {"long_name": "unit"}),
        }

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Run the model as it is, and with every intervention."""
        with torch.inference_mode():
            output = model(batch.images)
            natural = answer(output, output, batch.truth)
            given = {what: self.foreign(model, what, batch) for what in self.donors}
            rows = [natural] * (len(batch.units) + 1)
            for steps in plan(self.interventions, batch.units):
                now = {unit: resolved(what, unit, given) for unit, what in steps.items()}
                with intervene(model, now, units=batch.units):
                    rows.append(answer(model(batch.images), output, batch.truth))
        shape = (len(batch.images), 1 + len(self.interventions), len(batch.units) + 1)
        return {key: np.stack([row[key] for row in rows], 1).reshape(shape) for key in natural}

    def foreign(self, model: nn.Module, what: Swap, batch: Batch) -> dict[str, list[Tensor]]:
        """Record the weights that a swap gives the images of a batch."""
        scale = what.scale or batch.scale
        others = self.donors[what][batch.numbers].ready(batch.images.device, [scale])
        return weights(model, others.render(scale), batch.units)


def said(what: Any) -> Any:
    """Describe an intervention as JSON can hold it."""
    if isinstance(what, Mapping):
        return {unit: said(each) for unit, each in what.items()}
    if isinstance(what, Force | Ablate | Swap):
        return step(f"skviz.{type(what).__name__.lower()}", **vars(what))
    if callable(what):
        return f"function {getattr(what, '__qualname__', type(what).__name__)}"
    if isinstance(what, Tensor):
        return f"tensor {sha256_of([what.cpu().numpy().tobytes()])}"
    return what if isinstance(what, str | int) else repr(what)


@entrance
def effect(
    model: nn.Module,
    scenes: Any,
    interventions: Mapping[str, Any],
    *,
    scales: Sequence[float] | None = None,
    units: str | Unit | Iterable[str | Unit] | None = None,
    batch: Count = 32,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
) -> xr.Dataset:
    """Run every scene at every scale with the selection of each unit, and of all, changed.

    What the selection is worth to a classifier is a paired difference,
    ``p.sel(intervention="natural") - p``, where ``p`` is ``ds["category_probability"]``;
    ``skviz.stats.interval`` gives its interval. Of other models ``ds["change"]`` says how much the
    output changes, not whether for the better.

    Parameters
    ----------
    model
        Any model with SK units that gives logits (image, class) or another tensor (image, …); one
        that gives several is wrapped, see `skviz.wrap`. It comes back as it was, on the device it
        was on.
    scenes, scales
        As `skviz.sweep` takes them.
    interventions
        By a short name of yours: what to do with a unit, anything that `skviz.intervene` takes
        or `swap`; or a mapping of that by unit, if it differs between units.
    units
        Which to intervene on: names, units, or one of them; by default all that are not
        degenerate.
    batch
        Scenes per forward pass; also the images that a function of the weights sees.
    device, progress, store, chunk, on_error, client
        See `skviz.studies.study.Options`.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it; where it comes from in ``attrs``.

    Raises
    ------
    InterventionError
        If an intervention cannot be done to a unit, leaves one out, or is called ``natural``.
    SkvizError
        As `skviz.sweep` does.

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))[:2]
    >>> with_3 = {"3×3": skviz.force(kernel=3)}
    >>> ds = skviz.effect(model, scenes, with_3, scales=[1.0], progress=False)
    >>> ds["intervention"].values.tolist()
    ['natural', '3×3']
    """
    if NATURAL in interventions:
        raise InterventionError(f"{NATURAL!r} is the model as it is and always there; rename yours")
    shown = as_scenes(model, scenes)
    swaps = {what for what in asked(interventions) if isinstance(what, Swap)}
    measure = Answers(interventions, {what: donor(shown, what) for what in swaps})
    options = Options(units, batch, device, progress, store, chunk, on_error, client)
    ds = run(model, shown, scales, measure, options)
    return ds.transpose("intervention", "unit", "image", "scale")


def asked(interventions: Mapping[str, Any]) -> list[Any]:
    """List all that is to be done to some unit."""
    return [
        what
        for each in interventions.values()
        for what in (each.values() if isinstance(each, Mapping) else [each])
    ]


def plan(interventions: Mapping[str, Any], units: Sequence[Unit]) -> list[dict[str, Any]]:
    """List what to do to which units: each intervention to each unit in turn, then to all."""
    plans = []
    for name, what in interventions.items():
        together = dict(what) if isinstance(what, Mapping) else {u.name: what for u in units}
        missing = [unit.name for unit in units if unit.name not in together]
        if missing:
            raise InterventionError(
                f"intervention {name!r} leaves out unit {missing[0]!r}; say what to do with every "
                "unit, or choose some with units=[…]"
            )
        plans += [{unit.name: together[unit.name]} for unit in units]
        plans.append({unit.name: together[unit.name] for unit in units})
    return plans


def weights(model: nn.Module, images: Tensor, units: Sequence[Unit]) -> dict[str, list[Tensor]]:
    """Record the weights of each call of each unit, (image, branch, channel[, spatial…])."""
    with record(model, units) as recording:
        model(images)
    kept = recording.weights
    return {unit.name: [kept[name] for name in unit.call_names] for unit in units}


def resolved(what: Any, unit: str, given: dict[Swap, dict[str, list[Tensor]]]) -> Any:
    """Return what `intervene` can do, for one forward pass; of a swap, a function."""
    if not isinstance(what, Swap):
        return what
    calls = iter(given[what][unit])
    if what.part == "mean":
        return lambda own: fitted(own, next(calls))
    if what.part == "pattern":
        return lambda own: fitted(next(calls), own)
    return lambda _: next(calls)


def answer(output: Any, natural: Any, truth: Tensor | None) -> dict[str, np.ndarray]:
    """Say what the model answers, (image,) each, given logits (image, class) or another tensor."""
    if not are_logits(output):
        return {"change": change(output, natural)}
    found = judge(output, truth)
    if truth is not None:
        chance = probabilities(output).cpu().gather(1, truth[:, None])[:, 0]
        found["category_probability"] = chance.numpy()
    return found


def change(output: Any, natural: Any) -> np.ndarray:
    """Return the root mean square difference of two outputs, (image, …) each."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = str(output.dtype) if isinstance(output, Tensor) else type(output).__name__
        raise SkvizError(
            f"expected a model that gives logits (image, class) or a tensor (image, …), got {got}; "
            "choose one with skviz.wrap(model, forward=lambda model, images: …)"
        )
    if output.shape != natural.shape:
        raise SkvizError(
            f"the model gave {tuple(natural.shape)}, and {tuple(output.shape)} when its selection "
            "was changed: these cannot be compared"
        )
    difference = (output.double() - natural.double()).reshape(len(output), -1)
    return difference.square().mean(1).sqrt().cpu().numpy()
