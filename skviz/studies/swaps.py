"""Weights that the undisturbed model has for another scene, given to this one by `skviz.effect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from skviz.errors import InterventionError, SceneError, entrance
from skviz.scenes.changes import recombined
from skviz.scenes.source import Scenes

ROUNDS = 100  # of proportional fitting; two branches are within 1e-6 after about twenty


@dataclass(frozen=True)
class Swap:
    """Weights that the undisturbed model has for another scene; made by `swap`."""

    scale: float | None
    background: bool
    object: bool
    part: str


@entrance
def swap(
    *,
    scale: float | None = None,
    background: bool = False,
    object: bool = False,  # noqa: A002 (what is swapped, in the words of the scenes)
    part: Literal["all", "mean", "pattern"] = "all",
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
    for apart in range(1, len(category)):
        following = (place + apart) % len(category)
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
