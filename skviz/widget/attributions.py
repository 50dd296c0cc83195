"""Attribution maps of a grid, as the buffers that the browser draws from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from skviz.scenes import Source
    from skviz.widget.grid import Payload, Subject

__all__ = ["METHODS", "TARGETS", "explained"]

METHODS = (
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "gradient_shap",
    "smoothgrad",
    "occlusion",
    "feature_ablation",
    "grad_cam",
    "deep_lift",
    "guided_backprop",
)
UNIT = "unit"  # the attention difference of the unit that is looked at
TARGETS = ("predicted", "category", UNIT)
BATCH = 4  # scales between two looks at whether to stop
COVERED = 0.995  # share of the values that the colours tell apart


def explained(
    subject: Subject,
    scenes: Source,
    scales: Sequence[float],
    changes: Mapping[str, Any],
    *,
    method: str,
    target: str,
    unit: str,
) -> Iterator[float | Payload]:
    """Attribute one scene at some scales.

    Parameters
    ----------
    subject, scenes, scales, changes
        See `skviz.widget.grid.measure`.
    method
        One of `METHODS`.
    target
        One of `TARGETS`.
    unit
        Whose attention difference is the target ``"unit"``.

    Yields
    ------
    float or Payload
        The share that is done, and at last ``maps``: the bytes of int8 (scale, y, x), 127 standing
        for ``limit``, which is the same for all scales.
    """
    import skviz
    from skviz import targets

    wanted = targets.attention_difference(unit) if target == UNIT else target
    parts = []
    for start in range(0, len(scales), BATCH):
        part = list(scales[start : start + BATCH])
        with subject.changed(changes):
            parts.append(
                skviz.attribute(
                    subject.model, scenes, target=wanted, method=method, scales=part
                ).isel(target=0, image=0)
            )
        yield (start + len(part)) / len(scales)
    found = {
        name: np.concatenate([part[name].values for part in parts])
        for name in ("attribution", "value", "inside", "completeness_error")
    }
    limit = float(np.quantile(np.abs(found["attribution"]), COVERED)) or 1.0
    coded = np.rint(np.clip(found["attribution"] / limit, -1, 1) * 127).astype(np.int8)
    yield {
        "maps": coded.tobytes(),
        "size": list(coded.shape[1:]),
        "limit": limit,
        "scales": list(scales),
        "method": method,
        "target": target,
        "unit": unit if target == UNIT else "",
        **{
            name: [None if np.isnan(value) else float(value) for value in found[name]]
            for name in ("value", "inside", "completeness_error")
        },
    }
