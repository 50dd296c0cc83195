"""Measure one scene over a grid of scales, as the buffers that the browser draws from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from skviz.capture.interventions import force, intervene
from skviz.capture.names import kernel_name
from skviz.capture.recording import record
from skviz.errors import SkvizError
from skviz.explorer.items import NATURAL
from skviz.studies.setting import at_rest, category_index, choose, labels, probabilities
from skviz.studies.study import Study, assembled
from skviz.studies.sweeps import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr
    from torch import Tensor, nn

    from skviz.capture import Unit
    from skviz.capture.interventions import Force
    from skviz.scenes.source import Scenes

__all__ = ["UNIFORM", "Payload", "Subject", "dataset", "measure", "renderable"]

Payload = dict[str, Any]

UNIFORM = "uniform"
TOP = 5  # classes shown
PIXELS = 8 * 96**2  # of one batch: small enough to answer a hand that moves in between


@dataclass(frozen=True)
class Subject:
    """A network that is looked at: its units, and the side of its scenes in pixels."""

    model: nn.Module
    units: tuple[Unit, ...]
    canvas: int

    @classmethod
    def of(cls, model: nn.Module, images: Tensor, names: Sequence[str] | None) -> Subject:
        """Find the units of a model on a few images (B, 3, S, S)."""
        images = images.to(_device(model))
        return cls(model, tuple(choose(model, images, names)), images.shape[-1])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return _device(self.model)

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

    def changed(self, changes: Mapping[str, Any]) -> ExitStack:
        """Return a context in which the model rests, and weights are as `changes` says."""
        with ExitStack() as stack:
            stack.enter_context(at_rest(self.model, self.device))
            if changes:
                stack.enter_context(intervene(self.model, changes, units=self.units))
            return stack.pop_all()

    def look(self, images: Tensor, changes: Mapping[str, Any]) -> tuple[list[np.ndarray], Any]:
        """Return the weights of every unit, (B, branch, channel), and probabilities (B, class)."""
        with self.changed(changes), torch.inference_mode():
            with record(self.model, self.units, reduce="spatial_mean") as recording:
                logits = self.model(images.to(self.device))
            weights = [weight.float().cpu().numpy() for weight in recording.weights.values()]
            return weights, probabilities(logits).cpu().numpy()

    def described(self) -> list[dict[str, Any]]:
        """Describe the units, one entry for each call of a unit, in the order of the weights."""
        calls = [unit for unit in self.units for _ in range(unit.calls)]
        return [
            {
                "name": name,
                "branches": branch_labels(unit),
                "largest": unit.branches - 1 if unit.largest is None else unit.largest,
            }
            for name, unit in zip(labels(self.units), calls, strict=True)
        ]


def branch_labels(unit: Unit) -> list[str]:
    """Name the branches by kernel, or by index where that is unknown or not unique."""
    kernels = unit.kernels or ()
    if not kernels or len(set(kernels)) < len(kernels):
        return [f"branch {index}" for index in range(unit.branches)]
    return list(map(kernel_name, kernels))


def renderable(scenes: Scenes, scales: Sequence[float]) -> list[float]:
    """Return those scales at which the scenes can be rendered."""
    low, high = scenes.ready().bounds
    kept = [scale for scale in scales if low * (1 - 1e-6) <= scale <= high * (1 + 1e-6)]
    if not kept:
        raise SkvizError(f"none of the scales {list(scales)} can be shown here")
    return kept


def measure(
    subject: Subject, scenes: Scenes, scales: Sequence[float], changes: Mapping[str, Any]
) -> Iterator[float | Payload]:
    """Measure one scene at some scales.

    Parameters
    ----------
    subject
        The network.
    scenes
        One scene.
    scales
        At which it can be rendered.
    changes
        See `Subject.changes`.

    Yields
    ------
    float or Payload
        After each batch the share that is done, and at last what was measured: ``images`` are the
        bytes of uint8 (scale, y, x, rgb) and ``weights`` of float32 (scale, unit, branch, channel),
        units of different shapes one after the other.
    """
    images: list[np.ndarray] = []
    weights: list[list[np.ndarray]] = []
    chances: list[np.ndarray] = []
    size = max(1, PIXELS // subject.canvas**2)
    for start in range(0, len(scales), size):
        part = torch.cat([scenes.render(scale) for scale in scales[start : start + size]])
        seen, chance = subject.look(part, changes)
        weights.append(seen)
        chances.append(chance)
        images.append((part * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
        yield len(np.concatenate(chances)) / len(scales)
    # Of each unit (scale, branch, channel).
    found = [np.concatenate(unit) for unit in zip(*weights, strict=True)]
    flat = np.concatenate([unit.reshape(len(scales), -1) for unit in found], 1)
    units = [
        described | {"channels": weight.shape[2]}
        for described, weight in zip(subject.described(), found, strict=True)
    ]
    yield {
        "scales": list(scales),
        "canvas": subject.canvas,
        "images": np.concatenate(images).tobytes(),
        "weights": np.ascontiguousarray(flat, "<f4").tobytes(),
        "units": units,
        **_classes(subject.model, scenes, np.concatenate(chances)),
        "frame": _frame(scenes),
    }


def dataset(subject: Subject, scenes: Scenes, grid: Payload) -> xr.Dataset:
    """Return what `measure` found as `skviz.sweep` gives it."""
    count, side, scales = len(grid["scales"]), grid["canvas"], grid["scales"]
    flat = torch.frombuffer(bytearray(grid["weights"]), dtype=torch.float32).reshape(count, -1)
    shapes = [(len(unit["branches"]), unit["channels"]) for unit in grid["units"]]
    each = flat.split([branches * channels for branches, channels in shapes], 1)
    images = np.frombuffer(grid["images"], np.uint8).reshape(count, 1, side, side, 3)
    measure, units = Weights(), list(subject.units)
    study = Study(subject.model, scenes, scales, measure, units, 1, 1, "stop", subject.device)
    ready = scenes.ready()
    rows = []
    for at in range(count):
        weights = [w[at].reshape(1, *shape) for w, shape in zip(each, shapes, strict=True)]
        prediction = np.array(grid["classes"][at][:1])
        row = measure.of_units(weights) | {
            "prediction": prediction,
            "probability": np.array(grid["probabilities"][at][:1]),
            "thumbnail": images[at],
            "area": ready.areas.numpy(),
            "content": ready.content,
        }
        if study.truth is not None:
            row["correct"] = prediction == study.truth.numpy()
        rows.append(row)
    return assembled(study, rows)


def _classes(model: nn.Module, scenes: Scenes, chances: np.ndarray) -> Payload:
    """Return the most probable classes at each scale, their names, and which one is meant."""
    best = np.argsort(-chances, 1)[:, :TOP]  # (scale, class)
    card = getattr(model, "card", None)
    truth = category_index(model, scenes)
    return {
        "classes": best.tolist(),
        "probabilities": np.take_along_axis(chances, best, 1).astype(float).tolist(),
        "names": {
            str(i): card.categories[i] if card else f"class {i}" for i in np.unique(best).tolist()
        },
        "truth": None if truth is None else int(truth[0]),
    }


def _frame(scenes: Scenes) -> list[list[float]] | None:
    """Return the object's centre (y, x) and its ends at scale 1 (before, after), in pixels."""
    layers = scenes.ready().layers
    if layers is None:
        return None
    before, after = layers.extent[0].T.tolist()
    return [layers.centre[0].tolist(), before, after]


def _device(model: nn.Module) -> torch.device:
    first = next(model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
