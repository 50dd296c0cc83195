"""Methods that take parts of the image away; each returns (T, image, 3, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from skviz.attribution.job import Job
from skviz.errors import AttributionError, Side, entrance


@entrance
def occlusion(job: Job, *, window: Side | None = None, stride: Side | None = None) -> Tensor:
    """Change of each target when a square is covered (Zeiler and Fergus 2014).

    The mean over the squares that cover a pixel, split evenly over colours. By default squares of
    an eighth of the image's side, moved by half of theirs.
    """
    images = job.images
    window = max(1, images.shape[-1] // 8) if window is None else window
    if window > min(images.shape[-2:]):
        raise AttributionError(
            f"a window of {window} pixels is larger than the image, {tuple(images.shape[-2:])}"
        )
    stride = max(1, window // 2) if stride is None else stride
    if stride > window:
        raise AttributionError(f"a stride of {stride} leaves gaps between windows of {window}")
    from captum.attr import Occlusion  # with all that it needs, which takes long

    with torch.no_grad():
        maps = Occlusion(job.probe).attribute(
            images,
            sliding_window_shapes=(images.shape[1], window, window),
            strides=(images.shape[1], stride, stride),
            baselines=job.baseline,
            additional_forward_args=(job.everyone,),
            perturbations_per_eval=max(1, job.rows // len(images)),
        )
    # Captum gives (image · T, 3, H, W): a map for each output of each image.
    by_image = maps.reshape(len(images), -1, *images.shape[1:])
    return by_image.transpose(0, 1) / images.shape[1]


def feature_ablation(job: Job) -> Tensor:
    """Change of each target when the object is taken away, and when all but the object is.

    Spread evenly over the pixels whose removal made it, so that the map of the object sums to the
    change.
    """
    if job.mask is None:
        raise AttributionError(
            "feature ablation needs to know where the object is: give scenes that know it "
            "(skviz.place, .cut_out()), or mask=, (image, y, x) in 0…1"
        )
    images, everyone = job.images, job.everyone
    inside = (job.mask > 0.5)[:, None]  # (image, 1, H, W)
    total = images.new_zeros((len(job.probe.targets), *images.shape))
    with torch.no_grad():
        value = job.probe(images, everyone)  # (image, T)
        for part in (inside, ~inside):
            change = value - job.probe(torch.where(part, job.baseline, images), everyone)
            share = part / (part.sum((2, 3), keepdim=True) * images.shape[1]).clamp(min=1)
            total += change.T[..., None, None, None] * share
    return total
