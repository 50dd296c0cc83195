"""Attribution maps of a grid, as the buffers that the browser draws from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skviz.attribution import attention_difference, attribute

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from skviz.explorer.grid import Payload, Subject
    from skviz.scenes.source import Source

__all__ = ["TARGETS", "UNIT", "explained"]

UNIT = "unit"  # the attention difference of the unit that is looked at
TARGETS = ("predicted", "category", UNIT)
# By default as many steps as completeness asks for, far more than a look needs; the error is shown.
QUICK: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": 32}}
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
        See `skviz.explorer.grid.measure`.
    method
        Of `skviz.attribute`.
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
    wanted = attention_difference(unit) if target == UNIT else target
    parts = []
    for scale in scales:
        with subject.changed(changes):
            ds = attribute(
                subject.model,
                scenes,
                target=wanted,
                method=method,
                scales=[scale],
                check="warn",
                device=str(subject.device),
                progress=False,
                **QUICK.get(method, {}),
            )
        parts.append(ds.isel(target=0, image=0))
        yield len(parts) / len(scales)
    found = {
        name: np.concatenate([part[name].values for part in parts])
        for name in ("attribution", "value", "inside", "completeness_error")
    }
    # The same colour means the same at every scale.
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
