"""``attribute``: which pixels made a class likely, or a unit prefer a kernel.

The result is one `xarray.Dataset`. For scenes its variables also have the dimension ``scale``:

======================  =====================  ====================================================
``attribution``         target, image, y, x    signed, summed over colours
``value``               target, image          the target at the image
``delta``               target, image          Σ attribution − (value − value at the baseline)
``completeness_error``  target, image          its size, as a share of that change (or of 1 % of
                                               ``Σ |attribution|``, or of 0.0001, if that is more)
``inside``              target, image          share of ``Σ |attribution|`` that lies on the object
``area``                image                  share of the image that is the object
``scene``               image, y, x, rgb       what was attributed, uint8; of scenes only
``content``             image                  64 bits of the sha256 of the image; of scenes only
``problem``             image                  why the image was skipped; of scenes only
======================  =====================  ====================================================

``delta`` and ``completeness_error`` are NaN for methods that promise no sum, ``inside`` and
``area`` where it is not known where the object is.

In float32 a map depends on the processor, the number of threads and how many images share a pass:
mostly by 10⁻⁶ of its largest value, but where an activation lies just at the bend of a ReLU, as one
of the many steps of integrated gradients is likely to, by up to 0.6 % in a few of 10,000 pixels. A
model and images in float64 (``model.double()``) give the same map in all digits that are kept.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from skviz.attribution.baselines import checked_mask, make_baselines, of_each
from skviz.attribution.job import Job, completeness_error
from skviz.attribution.methods import AT_IMAGE, COMPLETE, METHODS, SEVERAL, check_options
from skviz.attribution.probe import Probe, rows_that_fit
from skviz.attribution.target import check_count, find_targets, target_labels, target_said
from skviz.errors import AttributionError, Count, Seed, entrance
from skviz.scenes.made import plain
from skviz.studies.keeping import Variable
from skviz.studies.options import Client, Options
from skviz.studies.setting import as_scenes, increasing
from skviz.studies.study import Batch, Study, run
from skviz.studies.sweeps import EACH, WHITE

MOST_ERROR = 0.05
HALF = (torch.float16, torch.bfloat16)


@entrance
def attribute(
    model: nn.Module,
    scenes: Any,
    *,
    target: Any = "predicted",
    method: str = "integrated_gradients",
    scales: Sequence[float] | None = None,
    baseline: str | float | Tensor = "mean",
    mask: Tensor | None = None,
    check: Literal["raise", "warn"] = "raise",
    seed: Seed = 0,
    batch: Count = 32,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: Count = 128,
    on_error: Literal["stop", "skip"] = "stop",
    client: Client | None = None,
    **options: Any,
) -> xr.Dataset:
    """Attribute classes or branch weights to the pixels of images.

    Parameters
    ----------
    model
        Any model; branch weights need units that `skviz.find_units` finds. It comes back as it was.
    scenes
        What `skviz.sweep` takes, or images (image, 3, H, W) as the model takes them.
    target
        One or a list of: ``"predicted"``, the class that the model predicts for each image;
        ``"category"``, the true one; a class by number or name; what `skviz.target` has:
        ``branch(unit, kernel=5)``, ``difference(unit)``, ``classes([3, 7])`` with one for each
        image. Many targets cost little more than one.
    method
        ``saliency``, ``input_x_gradient``, ``integrated_gradients`` (option ``steps``; by default
        as many as completeness asks for, and where it does), ``gradient_shap`` (``samples``,
        ``noise``), ``smoothgrad`` (``samples``, ``noise``), ``occlusion`` (``window``, ``stride``
        in pixels),
        ``feature_ablation`` (the object, and all else), ``grad_cam`` (``unit``, and ``kernel`` or
        ``branch``), ``deep_lift``, ``guided_backprop``.
    scales
        Of scenes; by default 1.
    baseline
        What stands for "nothing there": ``"mean"``, each image's mean colour; ``"blur"``, the
        image blurred by an eighth of its side; ``"background"``, scenes without their object; a
        number; or a tensor that fits the images. For gradient SHAP a tensor (K, 3, H, W) is a
        distribution.
    mask
        (image, H, W) in 0…1 where the object is; scenes know it.
    check
        What to do where attributions miss their promised sum by more than 5 %.
    seed
        Of the methods that sample.
    batch, device, progress, store, chunk, on_error, client
        As `skviz.sweep` takes them.
    **options
        Of the method.

    Returns
    -------
    xarray.Dataset
        As the module's documentation lists it.

    Raises
    ------
    AttributionError
        If the method, target, baseline, mask or an option does not fit, or completeness fails.
    UnitError
        If there is no such unit or branch.

    Examples
    --------
    >>> import skviz
    >>> model, scenes = skviz.load("objects"), skviz.place(skviz.objects(category="bus"))[:1]
    >>> larger = skviz.target.branch("stage2.1.sk", kernel=5)
    >>> maps = skviz.attribute(model, scenes, target=larger, method="saliency", progress=False)
    >>> maps["attribution"].sizes["image"]
    1
    """
    check_options(method, options)
    asked = tuple(target) if isinstance(target, list) else (target,)
    alone = isinstance(scenes, Tensor)
    if alone and scales is not None:
        raise AttributionError("scales are for scenes; these images are as they are")
    if mask is not None and not alone:
        raise AttributionError("scenes know where their objects are; leave mask= out")
    grid, shown = increasing((1.0,) if scales is None else scales), as_scenes(model, scenes)
    check_count(asked, len(shown))
    measure = Maps(asked, method, baseline, checked_mask(mask, scenes), seed, options)
    how = Options(None, batch, device, progress, store, chunk, on_error, client)
    with torch.inference_mode(mode=False):  # gradients, come what may
        ds = run(model, shown, grid, measure, how)
    ds = ds.drop_vars("area").rename(coverage="area")
    ds = ds.transpose("target", "image", "scale", "y", "x", "rgb")
    if alone:
        ds = ds.isel(scale=0, drop=True).drop_vars(["scene", "category", "content", "problem"])
        ds = ds.assign_coords(image=range(len(shown)))
    _check(ds, check)
    return ds


@dataclass(frozen=True, eq=False)
class Maps:
    """Attributions of targets to pixels; see `attribute`."""

    asked: tuple[Any, ...]
    method: str
    baseline: str | float | Tensor
    mask: Tensor | None
    seed: int
    given: dict[str, Any]

    name: ClassVar[str] = "attribute"
    in_turn: ClassVar[bool] = True
    needs_units: ClassVar[bool] = False

    @property
    def options(self) -> dict[str, Any]:
        """What the maps depend on."""
        return {
            "target": [target_said(one) for one in self.asked],
            "method": self.method,
            "baseline": told(self.baseline),
            "options": json.dumps(self.given, sort_keys=True),
            "seed": self.seed,
        } | ({} if self.mask is None else {"mask": told(self.mask)})

    def variables(self, study: Study) -> dict[str, Variable]:
        """List what is kept of every image at every scale."""
        shape, count = tuple(study.few.shape[-2:]), len(self.asked)
        numbers = {
            "value": "the target at the image",
            "delta": "Σ attribution − change of the target from the baseline",
            "completeness_error": "its size, as a share of that change",
            "inside": "share of Σ |attribution| that lies on the object",
        }
        maps = ("target", "y", "x"), (count, *shape), "f4", "attribution, summed over colours", ""
        scene = ("y", "x", "rgb"), (*shape, study.few.shape[1]), "u1", "the scene", "", WHITE
        return {
            "attribution": Variable(EACH, *maps),
            **{n: Variable(EACH, ("target",), (count,), "f8", s, "") for n, s in numbers.items()},
            "coverage": Variable(EACH, (), (), "f8", "share of the image that is the object", "1"),
            "scene": Variable(EACH, *scene),
        }

    def coords(self, study: Study) -> dict[str, Any]:
        """Name the targets."""
        few = study.few.to(dtype_of(study.model, study.few))
        labels = target_labels(study.model, self.asked, few)
        return {"target": ("target", labels, {"long_name": "target"})}

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        """Attribute a batch."""
        dtype, method = dtype_of(model, batch.images), self.method
        if dtype in HALF and method in COMPLETE:
            raise AttributionError(
                f"{method!r} promises a sum that {dtype} cannot hold; use model.float()"
            )
        images = batch.images.detach().to(dtype, copy=True)
        mask = batch.ready.mask(batch.scale) if self.mask is None else self.mask[batch.numbers]
        targets = find_targets(model, self.asked, images, batch.truth, batch.numbers)
        # The same at every scale, in any batch, and whatever number of rows fits.
        every, several = len(batch.study.scenes), method in SEVERAL
        seeds = torch.randint(2**31, (every,), generator=torch.Generator().manual_seed(self.seed))
        asked = self.baseline
        if isinstance(asked, Tensor):
            asked = of_each(asked, (every, *images.shape[1:]), several=several)
            asked = asked if asked.shape[1] == 1 else asked[:, batch.numbers]
        baselines = make_baselines(asked, images, batch.ready.behind, several=several)
        probe = Probe(model, targets)
        at_image = method in AT_IMAGE
        rows = 1 if at_image and len(images) == 1 else rows_that_fit(probe, images[:1])
        values = change = images.new_full((len(targets), len(images)), torch.nan)
        if not at_image:
            values = change = probe.evaluate(images, rows)
        if method in COMPLETE:
            reference = [probe.evaluate(one.expand_as(images), rows) for one in baselines]
            change = values - torch.stack(reference).mean(0)
        own = tuple(seeds[batch.numbers].tolist())
        job = Job(probe, images, baselines, change, checked_mask(mask, images), rows, own)
        parts = [
            METHODS[method](job.only(torch.arange(len(targets)), part), **self.given)
            for part in job.everyone.split(rows)
        ]
        if at_image:
            maps, values = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        else:
            maps = torch.cat(parts, 1)
        found = described(maps, job, values, complete=method in COMPLETE)
        return {name: value.cpu().numpy() for name, value in found.items()}


def dtype_of(model: nn.Module, images: Tensor) -> torch.dtype:
    """Return what a model computes in."""
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return next(kinds, images.dtype)


def told(given: str | float | Tensor) -> str | float:
    """Say what baseline or mask was given."""
    return f"given {plain(given)['sha256']}" if isinstance(given, Tensor) else given


def described(maps: Tensor, job: Job, values: Tensor, *, complete: bool) -> dict[str, Tensor]:
    """Say of maps (T, image, 3, H, W) and values (T, image) what is kept, image by image."""
    flat = maps.sum(2)  # (T, image, H, W)
    size = flat.abs().double()
    error = delta = inside = torch.full_like(values, torch.nan)
    area = inside[0]
    if complete:
        delta = maps.double().sum((2, 3, 4)) - job.change
        error = completeness_error(maps, job.change)
    if job.mask is not None:
        inside = (size * job.mask).sum((2, 3)) / size.sum((2, 3)).clamp(min=1e-30)
        area = job.mask.double().mean((1, 2))
    each = {"attribution": flat.float(), "value": values, "delta": delta}
    each |= {"completeness_error": error, "inside": inside}
    shown = (job.images * 255).round().byte().permute(0, 2, 3, 1)
    swapped = {name: found.transpose(0, 1) for name, found in each.items()}
    return swapped | {"coverage": area, "scene": shown}


def _check(ds: xr.Dataset, check: str) -> None:
    """Raise or warn where completeness fails."""
    error, method = ds["completeness_error"], ds.attrs["method"]
    wrong = ~(error <= MOST_ERROR)  # NaN too
    if method not in COMPLETE or not bool(wrong.any()):
        return
    worst = ds.isel(error.fillna(torch.inf).argmax(...))
    instead = {
        "integrated_gradients": "Take more steps=, or leave it out, and they go where needed",
        "gradient_shap": "Take more samples=, or use 'integrated_gradients'",
    }.get(method, "Use 'integrated_gradients'")
    message = (
        f"{method!r} misses completeness by {float(worst['completeness_error']):.0%} of the change "
        f"(target {worst['target'].item()!r}, image {worst['image'].item()!r}); "
        f"{int(wrong.sum())} of {error.size} maps are off by more than "
        f"{MOST_ERROR:.0%}. {instead}"
    )
    if check == "raise":
        raise AttributionError(f"{message}; check='warn' gives the maps all the same")
    warnings.warn(message, stacklevel=4)
