"""A network that is looked at, and what is measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from skviz.capture import Unit, units_of
from skviz.capture.interventions import Force, force, intervene
from skviz.capture.names import kernel_name
from skviz.errors import SkvizError
from skviz.explorer.items import NATURAL
from skviz.scenes.source import Scenes
from skviz.studies.keeping import Variable
from skviz.studies.setting import are_logits, at_rest, choose, labels, probabilities
from skviz.studies.study import Batch, Study
from skviz.studies.sweeps import WHITE, Weights

Payload = dict[str, Any]

UNIFORM = "uniform"
TOP = 5  # classes shown
CLASSES = ("classes", "probabilities")
OUTPUT = ("output", "clipped")
LARGEST = 384  # pixels of the side of an output that is larger than what went in


@dataclass(frozen=True)
class Subject:
    """A network that is looked at: its units, and the side of its scenes in pixels.

    Of a network that makes a picture of a picture also the side of what it makes, else 0.
    """

    model: nn.Module
    units: tuple[Unit, ...]
    canvas: int
    output: int = 0

    @classmethod
    def of(
        cls, model: nn.Module, images: Tensor, names: str | Unit | Iterable[str | Unit] | None
    ) -> Subject:
        """Find the units of a model on a few images (B, 3, S, S)."""
        images = images.to(_device(model))
        units, canvas = tuple(choose(units_of(model, images), names)), images.shape[-1]
        with at_rest(model, images.device), torch.inference_mode():
            made = model(images[:1])
        maps = isinstance(made, torch.Tensor) and made.is_floating_point() and made.ndim == 4
        height, width = made.shape[2:] if maps and made.shape[1] == 3 else (0, 0)
        return cls(model, units, canvas, height if height == width and not height % canvas else 0)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return _device(self.model)

    @property
    def shown(self) -> int:
        """Side at which its output is shown: its own, or a part of that if it is large; or 0."""
        sides = range(self.canvas, self.output + 1, self.canvas)
        whole = [side for side in sides if not self.output % side]
        return max((side for side in whole if side <= max(self.canvas, LARGEST)), default=0)

    def changes(self, intervention: str, only: str = "") -> dict[str, Force | str]:
        """Return what `skviz.intervene` is to do.

        Parameters
        ----------
        intervention
            ``"natural"``, ``"uniform"``, or the label of the branch to force in every unit that has
            such a branch.
        only
            The unit to change; by default all.
        """
        if intervention == NATURAL:
            return {}
        made: dict[str, Force | str] = {}
        for unit in self.units:
            if only in ("", unit.name):
                if intervention == UNIFORM:
                    made[unit.name] = UNIFORM
                elif intervention in branch_labels(unit):
                    made[unit.name] = force(branch=branch_labels(unit).index(intervention))
        if not made:
            raise SkvizError(f"no unit {only or 'of this network'} can be made {intervention!r}")
        return made

    @contextmanager
    def changed(self, changes: Mapping[str, Any]) -> Iterator[None]:
        """Have the model rest, and weights be as `changes` says."""
        weights = intervene(self.model, changes, units=self.units) if changes else nullcontext()
        with at_rest(self.model, self.device), weights:
            yield

    def described(self) -> list[dict[str, Any]]:
        """Describe the units, one entry for each call of a unit, in the order of the weights.

        ``name`` is the call's, ``unit`` the unit's, which is what can be changed.
        """
        calls = [unit for unit in self.units for _ in range(unit.calls)]
        return [
            {
                "name": name,
                "unit": unit.name,
                "branches": branch_labels(unit),
                "largest": unit.branches - 1 if unit.largest is None else unit.largest,
                "channels": unit.channels or 1,
            }
            for name, unit in zip(labels(self.units), calls, strict=True)
        ]


def branch_labels(unit: Unit) -> list[str]:
    """Name the branches by kernel, or by index where that is unknown or not unique."""
    kernels = unit.kernels or ()
    if not kernels or len(set(kernels)) < len(kernels):
        return [f"branch {index}" for index in range(unit.branches)]
    return [kernel_name(kernel, unit.axes) for kernel in kernels]


def renderable(scenes: Scenes, scales: Sequence[float]) -> list[float]:
    """Return those scales at which the scenes can be rendered."""
    low, high = scenes.ready().bounds
    kept = [scale for scale in scales if low * (1 - 1e-6) <= scale <= high * (1 + 1e-6)]
    if not kept:
        raise SkvizError(f"none of the scales {list(scales)} can be shown here")
    return kept


@dataclass(frozen=True)
class Looked(Weights):
    """What a sweep keeps, and the most probable classes; a batch is one scene at several scales.

    Of a network that makes pictures: these, of side ``output``, and the share of their numbers that
    is not within 0…1, where they are clipped.
    """

    output: int = 0
    shown: ClassVar[int | None] = None
    always: ClassVar[bool] = True

    def variables(self, study: Study) -> dict[str, Variable]:
        """Say what is kept."""
        made = super().variables(study)
        for name in CLASSES:
            made[name] = Variable("image scale", ("rank",), (TOP,), "f4", name, "")
        if self.output:
            dims, shape = ("row", "column", "rgb"), (self.output, self.output, 3)
            made["output"] = Variable("image scale", dims, shape, "u1", "output", "", WHITE)
            made["clipped"] = Variable("image scale", (), (), "f4", "share beyond 0…1", "1")
        return made

    def of_answers(self, logits: Tensor, batch: Batch) -> dict[str, np.ndarray]:
        """Say what the model answers, and what else it thinks of; NaN where there is no more."""
        if self.output:
            shown = interpolate(logits.float(), (self.output, self.output), mode="area")
            picture = (shown.nan_to_num(0).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
            inside = (logits >= 0) & (logits <= 1)  # which what is no number is not
            clipped = (~inside).flatten(1).float().mean(1)
            return {"output": picture.cpu().numpy(), "clipped": clipped.cpu().numpy()}
        if not are_logits(logits):
            return {}
        chances, best = (each.cpu() for each in probabilities(logits).sort(1, descending=True))
        few = (0, max(0, TOP - best.shape[1]))
        row = {
            name: pad(each[:, :TOP].double(), few, value=torch.nan).numpy()
            for name, each in zip(CLASSES, (best, chances), strict=True)
        }
        return row | super().of_answers(logits, batch)


def frame(scenes: Scenes) -> list[list[float]] | None:
    """Return the object's centre (y, x) and its ends at scale 1 (before, after), in pixels.

    None where there is no such object, or where it is not what grows.
    """
    layers = scenes.ready().layers
    if layers is None or layers.draw is not None:
        return None
    before, after = layers.extent[0].T.tolist()
    return [layers.centre[0].tolist(), before, after]


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
