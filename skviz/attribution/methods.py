"""The methods of `skviz.attribute` by name, each a function of one job and its own options."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from skviz.attribution import gradients, layers, perturbations
from skviz.capture import units_of
from skviz.errors import AttributionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from tqdm import tqdm

    from skviz.attribution.probe import Probe
    from skviz.capture.kernels import Kernel

__all__ = ["COMPLETE", "METHODS", "Job", "check_options", "completeness_error"]

FLOOR = 0.01  # a change smaller than this (of a logit or a weight) is compared with this
FEW_STEPS, MOST_STEPS = 32, 1024  # of integrated gradients
CLOSE = 0.01  # completeness error at which integrated gradients stop refining


@dataclass(frozen=True)
class Job:
    """What a method works on.

    Attributes
    ----------
    probe
        The model and T targets.
    images
        (image, 3, H, W).
    baselines
        (K, image or 1, 3, H, W); all methods but gradient SHAP want K = 1.
    change
        (T, image): value at the image minus mean value at the baselines.
    mask
        (image, H, W) where the object is, where known.
    rows
        How many fit in one pass.
    seeds
        One for each image, for what is random.
    bar
        Progress, in gradients.
    """

    probe: Probe
    images: Tensor
    baselines: Tensor
    change: Tensor
    mask: Tensor | None
    rows: int
    seeds: tuple[int, ...]
    bar: tqdm[Any]

    @property
    def baseline(self) -> Tensor:
        """The only baseline, (image, 3, H, W)."""
        if len(self.baselines) > 1:
            raise AttributionError(
                f"{len(self.baselines)} baselines are a distribution, which only 'gradient_shap' "
                "takes; give one, or one for each image"
            )
        return self.baselines[0].expand_as(self.images)

    def average(self, samples: gradients.Samples) -> Tensor:
        """Run a method that is an average of gradients."""
        return gradients.average_gradient(
            self.probe, self.images, samples, rows=self.rows, bar=self.bar
        )

    def only(self, targets: Tensor, images: Tensor) -> Job:
        """Return the job for some of its targets and images, by index."""
        return replace(
            self,
            probe=self.probe.only(images, targets),
            images=self.images[images],
            baselines=self.baselines.expand(-1, len(self.images), -1, -1, -1)[:, images],
            change=self.change[targets][:, images],
            seeds=tuple(self.seeds[index] for index in images.tolist()),
        )


def completeness_error(maps: Tensor, change: Tensor) -> Tensor:
    """|Σ attribution − change| as a share of the change, or of 0.01 if that is more.

    Parameters
    ----------
    maps
        (T, image, 3, H, W).
    change
        (T, image).
    """
    total = maps.double().sum((2, 3, 4))
    return (total - change).abs() / change.abs().clamp(min=FLOOR)


def saliency(job: Job) -> Tensor:
    """Gradient at the image."""
    return job.average(gradients.saliency(job.images))


def input_x_gradient(job: Job) -> Tensor:
    """Image × gradient."""
    return job.average(gradients.input_x_gradient(job.images))


def integrated_gradients(job: Job, *, steps: int | None = None) -> Tensor:
    """Integrated gradients; by default with as many steps as completeness asks for."""

    def run(job: Job, steps: int) -> Tensor:
        return job.average(gradients.integrated_gradients(job.images, job.baseline, steps))

    if steps is not None:
        return run(job, positive("steps", steps))
    maps, steps = run(job, FEW_STEPS), FEW_STEPS
    while steps < MOST_STEPS:
        coarse = completeness_error(maps, job.change) > CLOSE  # (T, image)
        if not bool(coarse.any()):
            break
        steps *= 2
        targets, images = coarse.any(1).nonzero()[:, 0], coarse.any(0).nonzero()[:, 0]
        maps[targets[:, None], images] = run(job.only(targets, images), steps)
    return maps


def gradient_shap(job: Job, *, samples: int = 256, noise: float = 0.0) -> Tensor:
    """Gradient SHAP."""
    positive("samples", samples)
    return job.average(
        gradients.gradient_shap(job.images, job.baselines, samples, not_negative(noise), job.seeds)
    )


def smoothgrad(job: Job, *, samples: int = 32, noise: float = 0.1) -> Tensor:
    """Mean gradient over images with noise, of this standard deviation."""
    positive("samples", samples)
    return job.average(gradients.smoothgrad(job.images, samples, not_negative(noise), job.seeds))


def occlusion(job: Job, *, window: int | None = None, stride: int | None = None) -> Tensor:
    """Cover squares; by default of an eighth of the image's side, by half their side."""
    window = max(1, job.images.shape[-1] // 8) if window is None else positive("window", window)
    if window > min(job.images.shape[-2:]):
        raise AttributionError(
            f"a window of {window} pixels is larger than the image, {tuple(job.images.shape[-2:])}"
        )
    stride = max(1, window // 2) if stride is None else positive("stride", stride)
    if stride > window:
        raise AttributionError(f"a stride of {stride} leaves gaps between windows of {window}")
    return perturbations.occlusion(
        job.probe, job.images, job.baseline, window=window, stride=stride, rows=job.rows
    )


def feature_ablation(job: Job) -> Tensor:
    """Take the object away, or everything else."""
    if job.mask is None:
        raise AttributionError(
            "feature ablation needs to know where the object is: give scenes that know it "
            "(skviz.place, .cut_out()), or mask=, (image, y, x) in 0…1"
        )
    return perturbations.feature_ablation(job.probe, job.images, job.baseline, mask=job.mask)


def grad_cam(
    job: Job, *, unit: str | None = None, kernel: Kernel | None = None, branch: int | None = None
) -> Tensor:
    """Grad-CAM at a unit's output (by default the last unit's), or of one of its branches."""
    units = units_of(job.probe.model, job.images[:3])
    chosen = units[unit] if unit is not None else units[-1]
    which = None
    if kernel is not None or branch is not None:
        which = chosen.branch_index(kernel=kernel, branch=branch)
    return layers.grad_cam(job.probe, job.images, unit=chosen, branch=which)


def deep_lift(job: Job) -> Tensor:
    """DeepLift, where it holds."""
    return layers.deep_lift(job.probe, job.images, job.baseline)


def guided_backprop(job: Job) -> Tensor:
    """Guided backpropagation, where it holds."""
    return layers.guided_backprop(job.probe, job.images)


METHODS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (
        saliency,
        input_x_gradient,
        integrated_gradients,
        gradient_shap,
        smoothgrad,
        occlusion,
        feature_ablation,
        grad_cam,
        deep_lift,
        guided_backprop,
    )
}
# These promise that attributions sum to the change of the target between baseline and image;
# gradient SHAP does so on average over its samples.
COMPLETE = ("integrated_gradients", "gradient_shap", "deep_lift")


def positive(name: str, value: int) -> int:
    """Return the value, or raise `AttributionError` unless it is a positive whole number."""
    if not isinstance(value, int) or value < 1:
        raise AttributionError(f"{name} must be a positive whole number, got {value!r}")
    return value


def not_negative(noise: float) -> float:
    """Return the noise, or raise `AttributionError` unless it is a standard deviation."""
    if not isinstance(noise, int | float) or not noise >= 0:
        raise AttributionError(f"noise must be a standard deviation, 0 or more, got {noise!r}")
    return noise


def check_options(method: str, options: dict[str, Any]) -> None:
    """Raise `AttributionError` for a method or option that does not exist."""
    if method not in METHODS:
        raise AttributionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        takes = f"takes {', '.join(known)}" if known else "takes no options"
        raise AttributionError(f"method {method!r} has no option {unknown[0]!r}; it {takes}")
