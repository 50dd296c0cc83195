"""What a `skviz.controls` study says of each unit, for the view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from skviz import stats
from skviz.errors import SkvizError
from skviz.models.zoo import weights_hash

LEVEL = 0.05
UNTRAINED = "untrained"


def verdicts(study: xr.Dataset, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Say of every unit how far its attention difference moves, and what moves it as far.

    Parameters
    ----------
    study
        From `skviz.controls`.
    networks
        Those that are explored.

    Returns
    -------
    dict
        ``network``, ``count`` (images), ``scales`` (first and last); and ``units``: by name a list
        of the claim and each control, with ``name``, ``shift``, ``low``, ``high`` (None where there
        are too few images) and ``verdict``: of the claim ``"moves"`` or ``"undecided"``, whether
        its shift is told from 0; of controls ``"as much"``, ``"more"``, ``"less"`` or
        ``"undecided"``, see `skviz.stats.compare`. The untrained networks are one control, from the
        lowest to the highest of them.

    Raises
    ------
    SkvizError
        If the study is of no such network, or no study of controls.
    """
    if "control" not in study.dims or "shift" not in study:
        raise SkvizError("controls= takes what skviz.controls gives")
    of = study.attrs.get("model_sha256")
    name = next((n for n, network in networks.items() if weights_hash(network) == of), None)
    if name is None:
        raise SkvizError(f"these controls are of none of the networks {', '.join(networks)}")
    found = stats.compare(study)
    return {
        "network": name,
        "count": study.sizes["image"],
        "scales": study["scale"].values[[0, -1]].tolist(),
        "units": {
            unit: _rows(found.sel(unit=unit)) for unit in study["unit"].values.tolist()
        },
    }  # fmt: skip


def _rows(found: xr.Dataset) -> list[dict[str, Any]]:
    rows = []
    for control in found["control"].values.tolist():
        one = found.sel(control=control)
        ends = (float(one[key]) for key in ("estimate", "low", "high"))
        shift, low, high = (end if np.isfinite(end) else None for end in ends)  # as JSON has it
        rows.append(
            {"name": control, "shift": shift, "low": low, "high": high, "verdict": _word(one)}
        )
    together = [row for row in rows if row["name"].startswith(f"{UNTRAINED} ")]
    if not together:
        return rows
    shifts = [row["shift"] for row in together if row["shift"] is not None]
    same = {row["verdict"] for row in together}
    rows = [row for row in rows if row not in together]
    return [*rows, {
        "name": UNTRAINED, "shift": float(np.mean(shifts)), "low": min(shifts), "high": max(shifts),
        "verdict": same.pop() if len(same) == 1 else "undecided",
    }]  # fmt: skip


def _word(one: xr.Dataset) -> str:
    verdict = str(one["verdict"].item())
    if verdict == "claim":
        return "moves" if float(one["p_holm"]) < LEVEL else "undecided"
    if verdict != "differs":
        return {"same": "as much"}.get(verdict, verdict)
    # The excess is the claim's shift minus the control's: it goes the claim's way if that is more.
    claim = float(one["estimate"] + one["excess"])
    return "less" if np.sign(float(one["excess"])) == np.sign(claim) else "more"
