"""The methods of `skviz.attribute` by name, each a function of one job and its own options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from skviz.attribution import gradients, layers, occlusion
from skviz.errors import AttributionError

METHODS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        gradients.saliency, gradients.input_x_gradient, gradients.integrated_gradients,
        gradients.gradient_shap, gradients.smoothgrad, occlusion.occlusion,
        occlusion.feature_ablation, layers.grad_cam, layers.deep_lift, layers.guided_backprop,
    )
}  # fmt: skip
# These promise that attributions sum to the change of the target between baseline and image;
# gradient SHAP does so on average over its samples.
COMPLETE = ("integrated_gradients", "gradient_shap", "deep_lift")
AT_IMAGE = ("saliency", "input_x_gradient")  # give values with their maps
SEVERAL = ("gradient_shap",)  # takes several baselines of each image: a distribution


def check_options(method: str, options: dict[str, Any]) -> None:
    """Raise `AttributionError` for a method or option that does not exist."""
    if method not in METHODS:
        raise AttributionError(f"method {method!r} is not known; use one of {', '.join(METHODS)}")
    known = list(inspect.signature(METHODS[method]).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        takes = f"takes {', '.join(known)}" if known else "takes no options"
        raise AttributionError(f"method {method!r} has no option {unknown[0]!r}; it {takes}")
