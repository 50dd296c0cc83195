"""``faithfulness``: whether an attribution is about the model, and about this model.

The result is what `skviz.attribute` gives, and, with the dimension ``scale`` too for scenes,

=====================  =================================  =====================================
``deletion``           order, target, image, fraction     value when that fraction of the pixels,
                                                          most positive first, is at the baseline
``insertion``          order, target, image, fraction     value when only that fraction is shown
``rank_correlation``   randomised, target, image          of the map with the map of the network
                                                          whose last layers are random
``class_correlation``  target, image                      of the map of a class with the map of
                                                          another, drawn for each image; NaN for
                                                          what is no class
=====================  =================================  =====================================

``order`` is ``attribution`` or, as control, ``random``. A map is faithful if deletion falls faster
and insertion rises faster than at random (Petsiuk et al., BMVC 2018), and about *this* model only
if it changes as its weights are taken away from the last layer down (Adebayo et al., NeurIPS 2018).
``randomised`` names the first module, in the order of the forward pass, that is random. A branch
weight does not depend on what comes after its unit, so there the correlation stays 1 at first. The
map of a class is about that class only if the map of another differs (Sixt et al., ICML 2020).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import scipy
import torch
import xarray as xr
from torch import Tensor, nn

from skviz.attribution.baselines import Seen, make_baselines, seen
from skviz.attribution.maps import attribute
from skviz.attribution.methods import SEVERAL, check_options
from skviz.attribution.probe import Probe
from skviz.attribution.target import ClassLogit, Target, find_targets
from skviz.capture.tape import Frame, Listener
from skviz.errors import Count, Seed, entrance
from skviz.models import device as devices
from skviz.studies.setting import as_scenes, at_rest
from skviz.studies.untrained import calibrate, reinitialise

ORDERS = ("attribution", "random")
PASSED_ON = ("mask", "check", "batch", "progress")  # to `attribute`, beside options of the method


@entrance
def faithfulness(
    model: nn.Module,
    scenes: Any,
    *,
    target: Any = "predicted",
    method: str = "integrated_gradients",
    scales: Sequence[float] | None = None,
    baseline: str | float | Tensor = "mean",
    points: Count = 16,
    groups: Annotated[int, range(2**31)] = 8,
    seed: Seed = 0,
    device: str = "auto",
    **options: Any,
) -> xr.Dataset:
    """Attribute, then test the maps.

    Parameters
    ----------
    model, scenes, target, method, scales, baseline, seed, device
        As `skviz.attribute` takes them.
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

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))[:2]
    >>> tested = skviz.faithfulness(model, scenes, method="saliency", progress=False)
    >>> tested.sizes["image"]
    2
    """
    check_options(method, {name: options[name] for name in options if name not in PASSED_ON})
    where = devices.resolve(device)
    asked = target if isinstance(target, list) else [target]
    settings = {"method": method, "baseline": baseline, "seed": seed, "device": device, **options}
    with at_rest(model, where):
        ds = attribute(model, scenes, target=asked, scales=scales, **settings)
        alone = isinstance(scenes, Tensor)
        maps = ds["attribution"].expand_dims(scale=[1.0]) if alone else ds["attribution"]
        shown = seen(model, as_scenes(model, scenes), maps["scale"].values.tolist(), where)
        parts = [
            tests(model, here, maps.isel(scale=place).values, asked, points, groups, settings)
            for place, here in enumerate(shown)
        ]
    found = xr.concat(parts, maps["scale"]).transpose(..., "scale")
    found = found.assign_coords(image=ds["image"])
    ds = ds.merge(found.isel(scale=0, drop=True) if alone else found)
    return ds.assign_attrs(study="faithfulness", points=points, groups=groups)


def tests(
    model: nn.Module,
    here: Seen,
    maps: np.ndarray,
    asked: Sequence[Any],
    points: int,
    groups: int,
    settings: dict[str, Any],
) -> xr.Dataset:
    """Test maps (T, image, H, W) that were found at one scale; `settings` are of `attribute`."""
    each, images, mask = ("target", "image"), here.images, here.mask
    targets = find_targets(model, asked, images, here.truth)
    several = settings["method"] in SEVERAL
    starts = make_baselines(settings["baseline"], images, here.backgrounds, several=several)
    settings = settings | {"baseline": starts} | ({} if mask is None else {"mask": mask})
    found = Maps(model, images, targets, maps, settings)
    made: dict[str, Any] = {
        name: (("order", *each, "fraction"), values.cpu().numpy())
        for name, values in found.curves(starts[0].expand_as(images), points).items()
    }
    coords: dict[str, Any] = {
        "order": list(ORDERS), "fraction": np.linspace(0, 1, points + 1),
        "target": [target.label for target in targets],
    }  # fmt: skip
    made["class_correlation"] = (each, found.of_others())
    if groups:
        coords["randomised"], correlation = found.randomised(groups)
        made["rank_correlation"] = (("randomised", *each), correlation)
    return xr.Dataset(made, coords)


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps that were found, and how.

    Attributes
    ----------
    model, images, targets
        Of what.
    maps
        (T, image, H, W).
    settings
        Of `attribute`.
    """

    model: nn.Module
    images: Tensor
    targets: Sequence[Target]
    maps: np.ndarray
    settings: dict[str, Any]

    @property
    def generator(self) -> torch.Generator:
        """What is drawn from, from the start."""
        return torch.Generator().manual_seed(self.settings["seed"])

    def again(self, model: nn.Module, targets: Sequence[Target]) -> np.ndarray:
        """Attribute for a comparison; whether the maps keep their sum is nobody's claim."""
        asked = self.settings | {"check": "warn", "target": list(targets)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* misses completeness")
            return attribute(model, self.images, **asked)["attribution"].values

    def of_others(self) -> np.ndarray:
        """Correlate the maps of classes with those of another class of each image, (T, image)."""
        found = np.full(self.maps.shape[:2], np.nan)
        with torch.no_grad():
            logits = self.model(self.images[:1])
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
            return found
        generator, count = self.generator, logits.shape[1]
        for place, target in enumerate(self.targets):
            if isinstance(target, ClassLogit):
                own = target.classes.cpu()
                other = (own + torch.randint(1, count, own.shape, generator=generator)) % count
                there = self.again(self.model, [ClassLogit("another", other)])
                found[place] = rank_correlation(self.maps[[place]], there)[0]
        return found

    def curves(self, start: Tensor, points: int) -> dict[str, Tensor]:
        """Take pixels away from the images, and put them on the baseline, highest rank first.

        Parameters
        ----------
        start
            The baseline, (image, 3, H, W).
        points
            After the first.

        Returns
        -------
        dict of Tensor
            ``deletion`` and ``insertion``, (order, T, image, points + 1).
        """
        images, probe = self.images, Probe(self.model, self.targets)
        maps = torch.from_numpy(self.maps).to(images.device)
        random = torch.rand(maps.shape, generator=self.generator).to(images.device)
        ranks = torch.stack([maps, random]).flatten(3)  # (order, T, image, pixel)
        place = ranks.argsort(3, descending=True).argsort(3).reshape(2, *maps.shape)
        everyone = torch.arange(len(images), device=images.device)
        made: dict[str, list[Tensor]] = {"deletion": [], "insertion": []}
        with torch.no_grad():
            for step in range(points + 1):
                first = place[:, :, :, None] < round(ranks.shape[3] * step / points)
                for name, pair in zip(made, ((start, images), (images, start)), strict=True):
                    shown = torch.where(first, *pair)  # (order, T, image, 3, H, W)
                    values = [
                        torch.stack([probe(rows, everyone)[:, t] for t, rows in enumerate(each)])
                        for each in shown
                    ]
                    made[name].append(torch.stack(values))  # (order, T, image)
        return {name: torch.stack(values, -1) for name, values in made.items()}

    def randomised(self, groups: int) -> tuple[list[str], np.ndarray]:
        """Randomise ever more layers from the last one down, and compare the maps.

        Returns
        -------
        tuple of list of str and numpy.ndarray
            The first module that is random, and (randomised, T, image) rank correlations.
        """
        order = in_order(self.model, self.images[:1])
        changed = copy.deepcopy(self.model)
        names, found, random = [], [], []
        for part in reversed(np.array_split(np.array(order), min(groups, len(order)))):
            random += [changed.get_submodule(name) for name in part]
            reinitialise(changed, random, seed=self.settings["seed"])
            calibrate(changed, random, self.images.chunk(-(-len(self.images) // 32)))
            names.append(str(part[0]))
            found.append(rank_correlation(self.maps, self.again(changed, self.targets)))
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
