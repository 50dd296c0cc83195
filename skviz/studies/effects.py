"""Change the selection of a model and measure what becomes of its answers.

The result is one `xarray.Dataset`; all variables are (intervention, unit, image, scale):

========================  ==========================================================
``prediction``            index of the predicted class
``probability``           its softmax probability
``correct``               whether it is the category, where both are known
``category_probability``  softmax probability of the category, where both are known
========================  ==========================================================

Words are those of a sweep (`skviz.studies.sweeps`). The first intervention is ``natural``, none
at all, the same for every unit; the last unit is ``all``, all of them together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from skviz.capture import Unit
from skviz.capture.interventions import intervene
from skviz.capture.recording import record
from skviz.errors import InterventionError, SceneError
from skviz.models import device as devices
from skviz.scenes.changes import recombined
from skviz.scenes.cutouts import Objects
from skviz.scenes.source import Scenes
from skviz.studies.sweeps import (
    SCALES,
    as_scenes,
    at_rest,
    category_index,
    checked,
    choose,
    described,
    example,
    probabilities,
)

__all__ = ["effect", "swap"]

NATURAL, ALL = "natural", "all"
PARTS = ("all", "mean", "pattern")
ROUNDS = 100  # of proportional fitting; two branches are within 1e-6 after about twenty


@dataclass(frozen=True)
class Swap:
    """Weights that the undisturbed model has for another scene; made by `swap`."""

    scale: float | None
    background: bool
    object: bool
    part: str


def swap(
    *,
    scale: float | None = None,
    background: bool = False,
    object: bool = False,  # noqa: A002 (what is swapped, in the words of the scenes)
    part: str = "all",
) -> Swap:
    """Give each scene the weights that the undisturbed model has for another one.

    "What if the small object got the large object's selection": ``swap(scale=2.0)``. What that
    costs is about size only as far as it costs more than ``swap(background=True)`` and
    ``swap(object=True)``, which leave the size as it is. Only `skviz.effect` can do this, because
    it has the other scenes to hand.

    Parameters
    ----------
    scale
        At which the other scene is shown; by default the same.
    background
        The same object on the background of the next scene.
    object
        The object of the next scene that shows another category, on this background.
    part
        ``"all"`` of the other scene's weights; its ``"mean"`` over channels (and places) for each
        branch, with the pattern over channels of the scene itself; or its ``"pattern"``, with the
        mean of the scene itself. Means are moved by one factor for each branch, found by iterative
        proportional fitting (Deming and Stephan 1940), so that weights still sum to 1.

    Raises
    ------
    InterventionError
        If nothing is swapped, or the part is not known.

    Examples
    --------
    >>> import skviz
    >>> skviz.swap(scale=2.0, part="mean").part
    'mean'
    """
    if scale is None and not background and not object:
        raise InterventionError("swap with what? give scale=, background=True or object=True")
    if part not in PARTS:
        raise InterventionError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    return Swap(None if scale is None else float(scale), background, object, part)


def donor(scenes: Scenes, what: Swap) -> Scenes:
    """Return the scenes that a swap takes its weights from, one for each."""
    if not (what.background or what.object):
        return scenes
    count = len(scenes)
    following = [(i + 1) % count for i in range(count)] if what.background else []
    others = [other(scenes.category, i) for i in range(count)] if what.object else []
    try:
        return recombined(scenes, backgrounds=following, objects=others)
    except SceneError as error:
        raise InterventionError(f"swap cannot be done: {error}") from error


def other(category: Sequence[str], place: int) -> int:
    """Return the next place that has another category."""
    for step in range(1, len(category)):
        following = (place + step) % len(category)
        if category[following] != category[place]:
            return following
    raise InterventionError("swap(object=True) needs scenes of at least two categories")


def fitted(weights: Tensor, like: Tensor) -> Tensor:
    """Move the mean of each branch to that of others, keeping the pattern; sums stay 1.

    Parameters
    ----------
    weights, like
        (image, branch, channel[, spatial…]), summing to 1 over branches.
    """
    aim = like.flatten(2).mean(2)  # (image, branch)
    found = weights.double().clamp(min=torch.finfo(weights.dtype).tiny)
    for _ in range(ROUNDS):
        factor = aim / found.flatten(2).mean(2)
        found = found * factor.reshape(*aim.shape, *[1] * (weights.dim() - 2))
        found = found / found.sum(1, keepdim=True)
    return found.to(weights)


def effect(
    model: nn.Module,
    scenes: Objects | Scenes,
    interventions: Mapping[str, Any],
    *,
    scales: Sequence[float] = SCALES,
    units: Sequence[str] | None = None,
    batch: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Classify every scene at every scale with the selection of each unit, and of all, changed.

    What the selection is worth is a paired difference, ``p.sel(intervention="natural") - p``, where
    ``p`` is ``ds["category_probability"]``; ``skviz.stats.interval` gives its interval.

    Parameters
    ----------
    model
        Any classifier with SK units; it comes back as it was, on the device it was on.
    scenes
        As `skviz.sweep` takes them.
    interventions
        By a short name of yours: what to do with a unit, anything that `skviz.intervene` takes
        or `swap`; or a mapping of that by unit, if it differs between units.
    scales
        Increasing; ``1.0`` is the reference.
    units
        Which to intervene on; by default all that are not degenerate.
    batch
        Scenes per forward pass; also the images that a function of the weights sees.
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once it has taken two seconds.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it; provenance in ``attrs``.

    Raises
    ------
    InterventionError
        If an intervention cannot be done to a unit, leaves one out, or is called ``natural``.
    SkvizError
        As `skviz.sweep` does.
    """
    if NATURAL in interventions:
        raise InterventionError(f"{NATURAL!r} is the model as it is and always there; rename yours")
    grid, source, where = checked(scales), as_scenes(model, scenes), devices.resolve(device)
    parts = [source[start : start + batch] for start in range(0, len(source), batch)]
    truth = category_index(model, source)
    rows: list[list[list[dict[str, np.ndarray]]]] = []  # by part, scale, intervention × unit
    bar = tqdm(total=len(parts) * len(grid), desc="effect", delay=2, disable=not progress)
    with at_rest(model, where), torch.inference_mode(), bar:
        found = choose(model, example(source, where, grid), units)
        plans = plan(interventions, found)
        swaps = {w for steps in plans for w in steps.values() if isinstance(w, Swap)}
        donors = {what: donor(source, what) for what in swaps}
        for number, part in enumerate(parts):
            here = part.ready(where, grid)
            from_ = slice(number * batch, number * batch + len(part))
            others = {
                what: donors[what][from_].ready(where, [what.scale] if what.scale else grid)
                for what in swaps
            }
            which = None if truth is None else truth[from_]
            rows.append([])
            for scale in grid:
                images = here.render(scale)
                natural = judge(model(images), which)
                rows[-1].append([natural] * (len(found) + 1))
                given = {
                    what: weights(model, others[what].render(what.scale or scale), found)
                    for what in swaps
                }
                for steps in plans:
                    now = {unit: resolved(what, unit, given) for unit, what in steps.items()}
                    with intervene(model, now, units=found):
                        rows[-1][-1].append(judge(model(images), which))
                bar.update()
    shape = (1 + len(interventions), len(found) + 1, len(source), len(grid))
    dims = ("intervention", "unit", "image", "scale")
    variables = {
        key: np.concatenate(
            [np.stack([np.stack([row[key] for row in at]) for at in part], -1) for part in rows], 1
        ).reshape(shape)  # (intervention × unit, image, scale) before
        for key in natural
    }
    return xr.Dataset(
        {key: (dims, values) for key, values in variables.items()},
        coords={
            "intervention": [NATURAL, *interventions],
            "unit": [*(unit.name or "model" for unit in found), ALL],
            "image": list(source.ids),
            "scale": grid,
            "category": ("image", list(source.category)),
        },
        attrs=described(
            model,
            source,
            grid,
            interventions={name: repr(what) for name, what in interventions.items()},
            batch=batch,
            device=where.type,
        ),
    )


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
    recorded = iter(recording.weights.values())
    return {unit.name: [next(recorded) for _ in range(unit.calls)] for unit in units}


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


def judge(logits: Any, truth: Tensor | None) -> dict[str, np.ndarray]:
    """Say what the model answers, (image,) each, given logits (image, class)."""
    probability = probabilities(logits).cpu()
    highest, prediction = probability.max(1)
    answer = {"prediction": prediction, "probability": highest}
    if truth is not None:
        answer["correct"] = prediction == truth
        answer["category_probability"] = probability.gather(1, truth[:, None])[:, 0]
    return {key: value.numpy() for key, value in answer.items()}
