"""What every study begins with: a model at rest, its units, scenes, and where it all is from."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skviz.capture import Unit, Units
from skviz.capture.probe import evaluate
from skviz.errors import SkvizError, UnitError, shown
from skviz.models import zoo
from skviz.scenes.cutouts import Objects, place
from skviz.scenes.made import images_hash, sha256_of, step
from skviz.scenes.photographs import photographs
from skviz.scenes.ready import Ready, Still
from skviz.scenes.source import CANVAS, Scenes

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
PIXELS = 2**17  # of a batch on a CPU: 64 of 32², 8 of 96², 2 of 224²
PART = 32  # scenes that are read at once
SOME = 200  # images whose names are said one by one
RUN_THROUGH = ("models", "capture", "scenes", "studies")  # rooms that a measure runs through


def checked(scales: Sequence[float] | None, scenes: Scenes) -> list[float]:
    """Return the scales if they can be a grid; by default what the protocol allows.

    Raises
    ------
    SkvizError
        If they are not increasing.
    """
    if scales is not None:
        return increasing(scales)
    usual = {"zoom": SCALES[2:], "as they are": (1.0,)}.get(scenes.protocol, SCALES)
    if scenes.protocol != "rescale":
        return list(usual)
    low, high = bounds(scenes)
    kept = [scale for scale in usual if low * (1 - 1e-6) <= scale <= high * (1 + 1e-6)]
    if len(kept) < len(usual):
        left = ", ".join(f"{scale:g}" for scale in usual if scale not in kept)
        warnings.warn(
            f"scales {left} are left out: there an object would leave its canvas or be too small; "
            f"these scenes go from {low:.3g} to {high:.3g}",
            stacklevel=5,
        )
    return increasing(kept)


def bounds(scenes: Scenes) -> tuple[float, float]:
    """Return the smallest and the largest scale at which all scenes that can be read are shown."""
    low, high = 0.0, math.inf
    for part in readable(scenes):
        low, high = max(low, part.bounds[0]), min(high, part.bounds[1])
    return low, high


def readable(scenes: Scenes) -> Iterator[Ready]:
    """Read scenes part by part, without those that cannot be: these are for the study to tell."""
    parts = [scenes[start : start + PART] for start in range(0, len(scenes), PART)]
    while parts:
        part = parts.pop()
        try:
            yield part.ready()
        except SkvizError:
            parts += list(part) if len(part) > 1 else []


def increasing(scales: Sequence[float]) -> list[float]:
    """Return scales as numbers, or raise `SkvizError` unless they increase."""
    grid = [float(scale) for scale in scales]
    if not grid or sorted(set(grid)) != grid:
        raise SkvizError(f"scales must be increasing, at least one, got {list(scales)}")
    return grid


def canvas_of(model: nn.Module) -> int:
    """Return the side of the images that a model wants, in pixels."""
    card = getattr(model, "card", None)
    return card.canvas if card else CANVAS


def batch_size(scenes: Scenes, device: torch.device) -> int:
    """Return how many scenes go through a model at once, a power of two."""
    if device.type != "cpu":
        return 32
    fit = PIXELS // scenes.canvas**2
    return 2 ** int(np.log2(np.clip(fit, 1, 64)))


def as_scenes(model: nn.Module, given: Any) -> Scenes:
    """Place cut-outs on the model's canvas, take images as they are; scenes are scenes already.

    Whatever else `skviz.photographs` takes is cut out, if there are masks, and else zoomed.

    Raises
    ------
    SkvizError
        If it is none of these.
    """
    if isinstance(given, Scenes):
        return given
    if isinstance(given, Objects):
        return place(given, canvas=canvas_of(model))
    if not isinstance(given, Tensor) and given is not None:
        return photographs(given).shown(canvas=canvas_of(model))
    if given is None or given.ndim != 4 or not given.is_floating_point() or not len(given):
        got = "None" if given is None else f"a tensor {tuple(given.shape)} of {given.dtype}"
        raise SkvizError(
            "expected scenes (skviz.place, skviz.photographs(…).zoom() or .cut_out()), cut-outs, "
            f"photographs or a folder of them, or images as floats (N, 3, H, W), got {got}"
        )
    if not bool(given.isfinite().all()):
        raise SkvizError("images hold numbers that are not finite; look for 0 / 0 before them")
    none = ("",) * len(given)
    return Scenes(
        source=Still(given.detach()),
        ids=tuple(f"{number:06d}" for number in range(len(given))),
        category=none,
        family=none,
        protocol="as they are",
        canvas=given.shape[-1],
        made=(step("images", shape=tuple(given.shape)),),
        places=tuple(range(len(given))),
    )


def category_index(model: nn.Module, scenes: Scenes) -> Tensor | None:
    """Return the class of each scene's category, (image,), if the model is known to have it."""
    card = getattr(model, "card", None)
    if not card or not set(scenes.category) <= set(card.categories):
        return None
    return torch.tensor([card.categories.index(category) for category in scenes.category])


def answers(truth: Tensor | None) -> dict[str, tuple[str, str]]:
    """Describe what `judge` finds: names for people, and units."""
    described = {
        "prediction": ("index of the predicted class", ""),
        "probability": ("softmax probability of the predicted class", "1"),
        "correct": ("whether the predicted class is the category", "1"),
    }
    if truth is None:
        del described["correct"]
    return described


def judge(logits: Any, truth: Tensor | None) -> dict[str, np.ndarray]:
    """Say what a model answers, (image,) each, given logits (image, class)."""
    probability, prediction = (found.cpu() for found in probabilities(logits).max(1))
    answer = {"prediction": prediction, "probability": probability}
    if truth is not None:
        answer["correct"] = prediction == truth
    return {key: value.numpy() for key, value in answer.items()}


def probabilities(logits: Any) -> Tensor:
    """Return the softmax of logits (image, class), in float32."""
    if not are_logits(logits):
        raise SkvizError("expected a classifier: a model that gives logits (image, class)")
    made: Tensor = logits.float().softmax(1)
    return made


def are_logits(answer: Any) -> bool:
    """Whether what a model gives can be logits (image, class)."""
    return isinstance(answer, Tensor) and answer.ndim == 2


@contextmanager
def at_rest(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model in evaluation mode on a device, and everything back as it was."""
    training = {module: module.training for module in model.modules()}
    home = next((parameter.device for parameter in model.parameters()), device)
    away = any(each.device != device for each in chain(model.parameters(), model.buffers()))
    try:
        evaluate(model)
        if away:
            model.to(device)
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
        if away:
            model.to(home)


def choose(found: Units, units: str | Unit | Iterable[str | Unit] | None) -> list[Unit]:
    """Return of the units that were found those named, or all that can be shown."""
    if units is not None:
        named = [units] if isinstance(units, str | Unit) else list(units)
        if not named:
            raise UnitError("no unit is asked for; leave units= out for all")
        names = [unit if isinstance(unit, str) else unit.name for unit in named]
        if len(set(names)) < len(names):
            raise UnitError(f"a unit is there twice; name each once, got {shown(named)}")
        of = {call: unit.name for unit in found for call in labels([unit])}  # as results name them
        return [found[name] for name in dict.fromkeys(of.get(name, name) for name in names)]
    kept = [unit for unit in found if unit.recordable and not unit.degenerate]
    if not kept:
        raise UnitError(f"the model has no unit whose weights can be shown:\n{found}")
    return kept


def labels(units: Sequence[Unit]) -> dict[str, tuple[float, ...]]:
    """Name every call of every unit, with its `sizes`."""
    return {
        name if unit.name else f"model{name}": unit.sizes
        for unit in units
        for name in unit.call_names
    }


def described(model: nn.Module, scenes: Scenes, scales: Sequence[float]) -> dict[str, Any]:
    """Say where a result comes from: code, model, images and scales."""
    ids = list(scenes.ids)
    return {
        **provenance(model),
        "architecture_sha256": sha256_of([repr(model).encode()]),
        "code_sha256": code_hash(),
        **scenes.attrs,
        "images": len(ids),
        "ids": ids if len(ids) <= SOME else [*ids[:2], "…", ids[-1]],
        "ids_sha256": sha256_of([repr((ids, scenes.category)).encode()]),
        "scales": list(scales),
    }


def witnessed(model: nn.Module, scenes: Scenes, scales: Sequence[float]) -> dict[str, Any]:
    """Say that of images that can all be read, with their hash."""
    return described(model, scenes, scales) | {"images_sha256": images_hash(scenes.content)}


def provenance(model: nn.Module) -> dict[str, Any]:
    """Say which code and model a result comes from."""
    card = getattr(model, "card", None)
    return {
        "skviz": version("skviz"),
        "torch": str(torch.__version__),
        "model": card.name if card else type(model).__name__,
        "model_sha256": zoo.weights_hash(model),
    }


@cache
def code_hash() -> str:
    """Return the sha256 of the code that a measure runs through: not of plots, not of pages."""
    package = Path(__file__).parents[1]
    return sha256_of(
        path.relative_to(package).as_posix().encode() + path.read_bytes()
        for room in RUN_THROUGH
        for path in sorted((package / room).rglob("*.py"))
    )
