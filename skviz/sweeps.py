"""Show a model the same scenes over a grid of scales and keep what its units did.

The result is one `xarray.DataTree`. Its root holds what all units share:

=================  ==========================  =========================================
``weight``         image, scale, unit, branch  branch weight, mean over channels
``spread``         image, scale, unit, branch  its standard deviation over channels
``prediction``     image, scale                index of the predicted class
``probability``    image, scale                its softmax probability
``correct``        image, scale                whether it is the category, where both are known
``kernel``         unit, branch                effective kernel (NaN: no such branch)
``category``       image                       what the object is
``thumbnail``      example, scale, y, x, rgb   the first scenes as they were shown, uint8
=================  ==========================  =========================================

and one node per unit, named like it, holds ``weight`` (image, scale, branch, channel).
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from skviz import data, zoo
from skviz import device as devices
from skviz.errors import SkvizError, UnitError
from skviz.recording import record
from skviz.scenes import Source, place
from skviz.units import Unit, find_units

__all__ = ["sweep"]

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
EXAMPLES = 4


def sweep(
    model: nn.Module,
    source: data.Objects | Source,
    *,
    scales: Sequence[float] = SCALES,
    units: Sequence[str] | None = None,
    batch: int = 32,
    device: str = "auto",
    progress: bool = True,
) -> xr.DataTree:
    """Record the branch weights of a model for every scene at every scale.

    Parameters
    ----------
    model
        Any classifier with SK units; it comes back as it was, on the device it was on.
    source
        Scenes (`skviz.place`, `skviz.zoom`, `skviz.from_photographs`), or cut-outs, which are
        placed on procedural backgrounds of the model's canvas (96 pixels if it names none).
    scales
        Increasing; ``1.0`` is the reference.
    units
        Names as `skviz.find_units` gives them; by default all that are not degenerate.
    batch
        Scenes per forward pass.
    device
        See `skviz.device.resolve`.
    progress
        Show a progress bar once the sweep has taken two seconds.

    Returns
    -------
    xarray.DataTree
        As the module's documentation lists it; provenance in ``attrs``.

    Raises
    ------
    SkvizError
        If the scales are not increasing, or a scale cannot be rendered (`SceneError`), or the
        model has no such unit (`UnitError`).
    """
    grid, scenes = checked(scales), as_scenes(model, source)
    where = devices.resolve(device)
    parts = [scenes[start : start + batch] for start in range(0, len(scenes), batch)]
    collected: list[list[dict[str, np.ndarray]]] = []
    bar = tqdm(
        total=len(parts) * len(grid), desc="sweep", unit="batch", delay=2, disable=not progress
    )
    with at_rest(model, where), bar:
        found = choose(model, parts[0][:3].to(where).render(grid[-1]), units)
        for part in parts:
            here = part.to(where)
            collected.append([])
            for scale in grid:
                collected[-1].append(measure(model, here.render(scale), found))
                bar.update()
    stacked = {
        key: np.concatenate([np.stack([s[key] for s in p], 1) for p in collected])
        for key in collected[0][0]
    }  # each (image, scale, …)
    return assemble(stacked, labels(found), scenes, grid, model)


def checked(scales: Sequence[float]) -> list[float]:
    """Return the scales if they can be a grid, or raise `SkvizError`."""
    grid = [float(scale) for scale in scales]
    if not grid or sorted(set(grid)) != grid:
        raise SkvizError(f"scales must be increasing, at least one, got {list(scales)}")
    return grid


def as_scenes(model: nn.Module, source: data.Objects | Source) -> Source:
    """Place cut-outs on the model's canvas; anything else is scenes already."""
    if not isinstance(source, data.Objects):
        return source
    card = getattr(model, "card", None)
    return place(source, canvas=card.canvas if card else 96)


def category_index(model: nn.Module, scenes: Source) -> torch.Tensor | None:
    """Return the class of each scene's category, (image,), if the model is known to have it."""
    card = getattr(model, "card", None)
    if not card or not set(scenes.category) <= set(card.categories):
        return None
    return torch.tensor([card.categories.index(category) for category in scenes.category])


def probabilities(logits: Any) -> torch.Tensor:
    """Return the softmax of logits (image, class), in float32."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise SkvizError("expected a classifier: a model that gives logits (image, class)")
    return logits.float().softmax(1)


class at_rest:  # noqa: N801 (a context manager that reads like a phrase)
    """Put a model in evaluation mode on a device, and everything back as it was."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model, device

    def __enter__(self) -> None:
        self.training = {module: module.training for module in self.model.modules()}
        first = next(self.model.parameters(), None)
        self.home = first.device if first is not None else self.device
        self.model.eval().to(self.device)

    def __exit__(self, *_: object) -> None:
        self.model.to(self.home)
        for module, training in self.training.items():
            module.training = training


def choose(model: nn.Module, images: torch.Tensor, names: Sequence[str] | None) -> list[Unit]:
    """Find the units of a model on a few images, and keep those named or all that can be shown."""
    units = find_units(model, images)
    if names is not None:
        return [units[name] for name in names]
    found = [unit for unit in units if unit.recordable and not unit.degenerate]
    if not found:
        raise UnitError(f"{type(model).__name__} has no unit whose weights can be shown:\n{units}")
    return found


def labels(units: Sequence[Unit]) -> dict[str, tuple[float, ...]]:
    """Name every call of every unit, with the kernels of its branches (NaN where unknown)."""
    return {
        f"{unit.name or 'model'}{f'@{call}' if unit.calls > 1 else ''}": tuple(
            unit.kernels or [np.nan] * unit.branches
        )
        for unit in units
        for call in range(unit.calls)
    }


def measure(model: nn.Module, images: torch.Tensor, units: Sequence[Unit]) -> dict[str, np.ndarray]:
    """Run the model on one batch (B, 3, S, S); return its weights and predictions."""
    with torch.inference_mode(), record(model, units, reduce="spatial_mean") as recording:
        logits = model(images)
    probability, prediction = probabilities(logits).max(1)
    recorded = zip(labels(units), recording.weights.values(), strict=True)
    kept = {f"weight {name}": weights.float().cpu().numpy() for name, weights in recorded}
    shown = (images[:EXAMPLES] * 255).round().byte().permute(0, 2, 3, 1)
    return kept | {
        "probability": probability.cpu().numpy(),
        "prediction": prediction.cpu().numpy(),
        "thumbnail": shown.cpu().numpy(),
    }


def assemble(
    measured: dict[str, np.ndarray],
    kernels: dict[str, tuple[float, ...]],
    scenes: Source,
    scales: list[float],
    model: nn.Module,
) -> xr.DataTree:
    """Label the measurements."""
    most = max(map(len, kernels.values()))
    shape = (len(scenes), len(scales), len(kernels), most)
    weight, spread = np.full(shape, np.nan), np.full(shape, np.nan)
    kernel = np.full((len(kernels), most), np.nan)
    nodes = {}
    for index, (name, sizes) in enumerate(kernels.items()):
        channels = measured[f"weight {name}"]  # (image, scale, branch, channel)
        weight[:, :, index, : len(sizes)] = channels.mean(-1, dtype=np.float64)
        spread[:, :, index, : len(sizes)] = channels.std(-1, dtype=np.float64)
        kernel[index, : len(sizes)] = sizes
        dims = ("image", "scale", f"branch {name}", "channel")
        node = xr.Dataset({"weight": (dims, channels)}).rename({dims[2]: "branch"})
        padding = {"branch": (0, most - len(sizes))}
        nodes[name] = node.pad(padding, constant_values=np.nan) if padding["branch"][1] else node
    root = xr.Dataset(
        {
            "weight": (("image", "scale", "unit", "branch"), weight),
            "spread": (("image", "scale", "unit", "branch"), spread),
            "prediction": (("image", "scale"), measured["prediction"]),
            "probability": (("image", "scale"), measured["probability"]),
            "thumbnail": (
                ("example", "scale", "y", "x", "rgb"),
                measured["thumbnail"][:EXAMPLES],
            ),
        },
        coords={
            "image": list(scenes.ids),
            "scale": scales,
            "unit": list(kernels),
            "kernel": (("unit", "branch"), kernel),
            "category": ("image", list(scenes.category)),
        },
        attrs=provenance(model) | scenes.attrs,
    )
    truth = category_index(model, scenes)
    if truth is not None:
        root["correct"] = (("image", "scale"), measured["prediction"] == truth.numpy()[:, None])
    return xr.DataTree(root, children={name: xr.DataTree(ds) for name, ds in nodes.items()})


def provenance(model: nn.Module) -> dict[str, Any]:
    """Say which code, model and data a result comes from."""
    card = getattr(model, "card", None)
    return {
        "skviz": version("skviz"),
        "torch": str(torch.__version__),
        "model": card.name if card else type(model).__name__,
        "model_sha256": zoo.weights_hash(model),
        "data_sha256": data.manifest_hash(),
    }
