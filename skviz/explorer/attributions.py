"""Attribution maps of a grid, as the buffers that the browser draws from."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from skviz.attribution import attribute
from skviz.attribution.maps import MOST_ERROR
from skviz.attribution.methods import COMPLETE
from skviz.attribution.target import difference
from skviz.explorer.grid import Payload, Subject
from skviz.scenes.source import Scenes

UNIT = "unit"  # the attention difference of the unit that is looked at
TARGETS = ("predicted", "category", UNIT)
# By default as many steps as completeness asks for, far more than a first look needs.
QUICK: dict[str, dict[str, Any]] = {"integrated_gradients": {"steps": 32}}
COVERED = 0.995  # share of the values that the colours tell apart


def explained(
    subject: Subject,
    scenes: Scenes,
    scales: Sequence[float],
    changes: Mapping[str, Any],
    *,
    method: str,
    target: str,
    unit: str,
    fine: bool = False,
) -> Iterator[tuple[float, Payload]]:
    """Attribute one scene at some scales.

    Parameters
    ----------
    subject, scenes, changes
        A network, what it is shown, and what `Subject.changed` does to it.
    scales
        In the order in which they are wanted.
    method
        Of `skviz.attribute`.
    target
        One of `TARGETS`.
    unit
        Whose attention difference is the target ``"unit"``.
    fine
        Take as long as completeness asks for; otherwise quick, and `complete` says where that is
        not enough.

    Yields
    ------
    tuple of float and Payload
        The share that is done; and after the first scale, the second, the fourth … and the last
        what is found so far, else nothing: ``maps``, the bytes of int8 (scale, y, x), 127 standing
        for ``limit``, which is the same for all scales, and what is known of them.
    """
    wanted = difference(unit) if target == UNIT else target
    options = {} if fine else QUICK.get(method, {})
    parts: list[xr.Dataset] = []
    for scale in scales:
        with subject.changed(changes), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*misses completeness")  # the view says so
            ds = attribute(
                subject.model,
                scenes,
                target=wanted,
                method=method,
                scales=[scale],
                check="warn",
                device=str(subject.device),
                progress=False,
                **options,
            )
        parts.append(ds.isel(target=0, image=0))
        share, shown = len(parts) / len(scales), {}
        if len(parts).bit_count() == 1 or share == 1:
            shown = _coded(parts) | about(method, target, unit) | {"refined": not options}
        yield share, shown


def about(method: str, target: str, unit: str) -> dict[str, Any]:
    """Name what maps are about: the unit only where that is the target."""
    return {"method": method, "target": target, "unit": unit if target == UNIT else ""}


def _coded(parts: Sequence[xr.Dataset]) -> Payload:
    parts = sorted(parts, key=lambda part: float(part["scale"].item()))
    found = {
        name: np.concatenate([part[name].values for part in parts])
        for name in ("attribution", "value", "inside", "completeness_error", "scale")
    }
    method, error = parts[0].attrs["method"], found["completeness_error"]
    # The same colour means the same at every scale.
    limit = float(np.quantile(np.abs(found["attribution"]), COVERED)) or 1.0
    coded = np.rint(np.clip(found["attribution"] / limit, -1, 1) * 127).astype(np.int8)
    return {
        "maps": coded.tobytes(),
        "size": list(coded.shape[1:]),
        "limit": limit,
        "scales": found["scale"].tolist(),
        # Of methods whose maps add up to the change of the target: whether they do. NaN: no.
        "complete": [method not in COMPLETE or bool(e <= MOST_ERROR) for e in error],
        **{
            name: [None if np.isnan(value) else float(value) for value in found[name]]
            for name in ("value", "inside", "completeness_error")
        },
    }
