"""``faithfulness``: whether an attribution is about the model, and about this model.

The result is what `skviz.attribute` gives, and

====================  ==================================  =====================================
``deletion``          order, target, image, fraction      value when that fraction of the pixels,
                                                          most positive first, is at the baseline
``insertion``         order, target, image, fraction      value when only that fraction is shown
``rank_correlation``  randomised, target, image           of the map with the map of the network
                                                          whose last layers are random
====================  ==================================  =====================================

``order`` is ``attribution`` or, as control, ``random``. A map is faithful if deletion falls faster
and insertion rises faster than at random (Petsiuk et al., BMVC 2018), and about *this* model only
if it changes as its weights are taken away from the last layer down (Adebayo et al., NeurIPS 2018).
``randomised`` names the first module, in the order of the forward pass, that is random. A branch
weight does not depend on what comes after its unit, so there the correlation stays 1 at first.
"""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from skviz.attribution.baselines import make_baselines
from skviz.attribution.maps import attribute, find_targets
from skviz.attribution.probe import Probe
from skviz.capture.tape import Frame, Listener
from skviz.errors import AttributionError
from skviz.models import device as devices
from skviz.studies.setting import at_rest
from skviz.studies.untrained import calibrate, reinitialise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from skviz.attribution.targets import Target

__all__ = ["faithfulness"]

ORDERS = ("attribution", "random")


def faithfulness(
    model: nn.Module,
    images: Tensor,
    *,
    target: Any = "predicted",
    method: str = "integrated_gradients",
    baseline: str | float | Tensor = "mean",
    points: int = 16,
    groups: int = 8,
    seed: int = 0,
    device: str = "auto",
    **options: Any,
) -> xr.Dataset:
    """Attribute, then test the maps.

    Parameters
    ----------
    model, images, target, method, baseline, seed, device
        As `skviz.attribute` takes them; images (image, 3, H, W) only.
    points
        Of the deletion and insertion curves, after the first.
    groups
        Into how many groups of layers the network is divided for being randomised; 0 for none.
    **options
        Of `skviz.attribute` and the method.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it.
    """
    if not isinstance(images, Tensor):
        raise AttributionError("faithfulness takes images (image, 3, H, W); render scenes first")
    where = devices.resolve(device)
    settings = {"method": method, "baseline": baseline, "seed": seed, "device": device, **options}
    with at_rest(model, where):
        images = images.to(where)
        targets = find_targets(model, target if isinstance(target, list) else [target], images)
        ds = attribute(model, images, target=targets, **settings)
        baselines = make_baselines(baseline, images, distribution=method == "gradient_shap")
        generator = torch.Generator().manual_seed(seed)
        maps = torch.from_numpy(ds["attribution"].values).to(where)  # (T, image, H, W)
        ranks = torch.stack([maps, torch.rand(maps.shape, generator=generator).to(where)])
        start = baselines[0].expand_as(images)
        found = curves(Probe(model, targets), images, start, ranks, points)
        for name, values in found.items():
            ds[name] = (("order", "target", "image", "fraction"), values.cpu().numpy())
        ds = ds.assign_coords(order=list(ORDERS), fraction=np.linspace(0, 1, points + 1))
        if groups:
            names, correlation = randomise(model, images, maps, targets, groups, settings)
            ds["rank_correlation"] = (("randomised", "target", "image"), correlation)
            ds = ds.assign_coords(randomised=names)
    return ds


def curves(
    probe: Probe, images: Tensor, start: Tensor, ranks: Tensor, points: int
) -> dict[str, Tensor]:
    """Take pixels away from the images, and put them on the baseline, highest rank first.

    Parameters
    ----------
    probe
        The model and T targets.
    images, start
        (image, 3, H, W), and the baseline.
    ranks
        (order, T, image, H, W).
    points
        After the first.

    Returns
    -------
    dict of Tensor
        ``deletion`` and ``insertion``, (order, T, image, points + 1).
    """
    pixels = images.shape[-2] * images.shape[-1]
    place = ranks.flatten(3).argsort(3, descending=True).argsort(3).reshape(ranks.shape)
    everyone = torch.arange(len(images), device=images.device)
    made: dict[str, list[Tensor]] = {"deletion": [], "insertion": []}
    with torch.no_grad():
        for step in range(points + 1):
            first = (place < round(pixels * step / points))[
                :, :, :, None
            ]  # (order, T, image, 1, …)
            for name, (inside, outside) in zip(
                made, ((start, images), (images, start)), strict=True
            ):
                shown = torch.where(first, inside, outside)  # (order, T, image, 3, H, W)
                values = [
                    torch.stack([probe(rows, everyone)[:, t] for t, rows in enumerate(by_target)])
                    for by_target in shown
                ]
                made[name].append(torch.stack(values))  # (order, T, image)
    return {name: torch.stack(values, -1) for name, values in made.items()}


def randomise(
    model: nn.Module,
    images: Tensor,
    maps: Tensor,
    targets: Sequence[Target],
    groups: int,
    settings: dict[str, Any],
) -> tuple[list[str], np.ndarray]:
    """Randomise ever more layers from the last one down, and compare the maps.

    Returns
    -------
    tuple of list of str and numpy.ndarray
        The first module that is random, and (randomised, T, image) rank correlations.
    """
    order = in_order(model, images[:1])
    changed = copy.deepcopy(model)
    names, found, random = [], [], []
    for part in reversed(np.array_split(np.array(order), min(groups, len(order)))):
        random += [changed.get_submodule(name) for name in part]
        reinitialise(changed, random, seed=settings["seed"])
        calibrate(changed, random, images.split(32))
        with warnings.catch_warnings():
            # What a random network's maps sum to is nobody's claim.
            warnings.filterwarnings("ignore", ".* misses completeness")
            there = attribute(changed, images, target=list(targets), **settings | {"check": "warn"})
        names.append(str(part[0]))
        found.append(rank_correlation(maps.cpu().numpy(), there["attribution"].values))
    return names, np.stack(found)


class _Order(Listener):
    """Notes the modules that can be initialised anew, as they run."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(
            {
                name: module
                for name, module in model.named_modules()
                if hasattr(module, "reset_parameters") and not list(module.children())
            }
        )
        self.names: dict[str, None] = {}

    def entered(self, frame: Frame, *_: Any) -> None:
        """Note a module."""
        self.names[frame.name] = None


def in_order(model: nn.Module, images: Tensor) -> list[str]:
    """Name the modules that can be initialised anew and have no others inside, as they run."""
    order = _Order(model)
    with torch.no_grad(), order:
        model(images)
    return list(order.names)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of maps (T, image, y, x), as (T, image); 0 where a map is constant."""
    ranks = [scipy.stats.rankdata(m.reshape(*m.shape[:2], -1), axis=-1) for m in (a, b)]
    centred = [rank - rank.mean(-1, keepdims=True) for rank in ranks]
    sizes = [np.sqrt((rank**2).sum(-1)) for rank in centred]
    product = (centred[0] * centred[1]).sum(-1)
    return product / np.maximum(sizes[0] * sizes[1], 1e-12)
