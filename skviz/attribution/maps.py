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
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor, nn
from tqdm import tqdm

from skviz.attribution.baselines import Seen, checked_mask, make_baselines, seen
from skviz.attribution.job import Job, completeness_error
from skviz.attribution.methods import AT_IMAGE, COMPLETE, METHODS, SEVERAL, check_options
from skviz.attribution.probe import Probe, rows_that_fit
from skviz.attribution.target import find_targets, target_said
from skviz.errors import AttributionError, Seed, entrance
from skviz.models import device as devices
from skviz.scenes.source import Scenes
from skviz.studies.setting import as_scenes, at_rest, increasing, witnessed

MOST_ERROR = 0.05
HALF = (torch.float16, torch.bfloat16)


@entrance
def attribute(
    model: nn.Module,
    images: Any,
    *,
    target: Any = "predicted",
    method: str = "integrated_gradients",
    scales: Sequence[float] | None = None,
    baseline: str | float | Tensor = "mean",
    mask: Tensor | None = None,
    check: Literal["raise", "warn"] = "raise",
    seed: Seed = 0,
    device: str = "auto",
    progress: bool = True,
    **options: Any,
) -> xr.Dataset:
    """Attribute classes or branch weights to the pixels of images.

    Parameters
    ----------
    model
        Any model; branch weights need units that `skviz.find_units` finds. It comes back as it was.
    images
        (image, 3, H, W) as the model takes them, or what `skviz.sweep` takes.
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
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once it has taken two seconds.
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
    alone = isinstance(images, Tensor)
    if alone and scales is not None:
        raise AttributionError("scales are for scenes; these images are as they are")
    if mask is not None and not alone:
        raise AttributionError("scenes know where their objects are; leave mask= out")
    where, grid = devices.resolve(device), increasing((1.0,) if scales is None else scales)
    gradients = torch.inference_mode(mode=False)  # come what may
    with at_rest(model, where), devices.memory_kept(), gradients:
        scenes = as_scenes(model, images)
        run = partial(_maps, model, asked, method, baseline, options, seed, progress)
        shown = seen(model, scenes, grid, where)
        parts = [run(here._replace(mask=mask) if alone else here) for here in shown]
        ds = _over_scales(parts, scenes, grid)
        if alone:
            ds = ds.isel(scale=0, drop=True).drop_vars(["scene", "category"])
            ds = ds.assign_coords(image=range(len(scenes)))
        ds.attrs = witnessed(model, scenes, grid)
    ds.attrs |= {
        "study": "attribute",
        "target": [target_said(one) for one in asked],
        "method": method,
        "baseline": "given" if isinstance(baseline, Tensor) else baseline,
        "options": json.dumps(options, sort_keys=True),
        "seed": seed,
    }
    _check(ds, check)
    return ds


def _over_scales(parts: Sequence[xr.Dataset], scenes: Scenes, grid: Sequence[float]) -> xr.Dataset:
    """Put the maps of scenes at every scale together."""
    ds = xr.concat(parts, "scale").assign_coords(
        scale=grid, image=list(scenes.ids), category=("image", list(scenes.category))
    )
    return ds.transpose("target", "image", "scale", "y", "x", "rgb")


def _maps(
    model: nn.Module,
    asked: Sequence[Any],
    method: str,
    baseline: str | float | Tensor,
    options: dict[str, Any],
    seed: int,
    progress: bool,
    here: Seen,
) -> xr.Dataset:
    """Attribute images at one scale; other arguments as of `attribute`."""
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    dtype = next(kinds, here.images.dtype)
    if dtype in HALF and method in COMPLETE:
        raise AttributionError(
            f"{method!r} promises a sum that {dtype} cannot hold; use model.float()"
        )
    images = here.images.detach().to(dtype, copy=True)
    mask = checked_mask(here.mask, images)
    targets = find_targets(model, asked, images, here.truth)
    baselines = make_baselines(baseline, images, here.backgrounds, several=method in SEVERAL)
    probe = Probe(model, targets)
    at_image = method in AT_IMAGE
    rows = 1 if at_image and len(images) == 1 else rows_that_fit(probe, images[:1])
    values = change = images.new_full((len(targets), len(images)), torch.nan)
    if not at_image:
        values = change = probe.evaluate(images, rows)
    if method in COMPLETE:
        reference = [probe.evaluate(one.expand_as(images), rows) for one in baselines]
        change = values - torch.stack(reference).mean(0)
    # The same at every scale, and whatever number of rows fits.
    seeds = torch.randint(2**31, (len(images),), generator=torch.Generator().manual_seed(seed))
    with tqdm(desc=method, unit="row", delay=2, disable=not progress) as bar:
        job = Job(probe, images, baselines, change, mask, rows, tuple(seeds.tolist()), bar)
        parts = [
            METHODS[method](job.only(torch.arange(len(targets)), part), **options)
            for part in job.everyone.split(rows)
        ]
    if at_image:
        maps, values = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    else:
        maps = torch.cat(parts, 1)
    return _labelled(maps, job, values, complete=method in COMPLETE)


def _labelled(maps: Tensor, job: Job, values: Tensor, *, complete: bool) -> xr.Dataset:
    """Label maps (T, image, 3, H, W), values (T, image), and what they say of each other."""
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
    shown = (job.images * 255).round().byte().permute(0, 2, 3, 1)
    each = ("target", "image")
    made = {
        "attribution": ((*each, "y", "x"), flat.float()),
        "value": (each, values),
        "delta": (each, delta),
        "completeness_error": (each, error),
        "inside": (each, inside),
        "area": ("image", area),
        "scene": (("image", "y", "x", "rgb"), shown),
    }
    return xr.Dataset(
        {name: (dims, found.cpu().numpy()) for name, (dims, found) in made.items()},
        {"target": [target.label for target in job.probe.targets]},
    )


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
