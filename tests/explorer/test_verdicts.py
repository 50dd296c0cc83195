"""What the explorer says of controls is what the study says."""

import numpy as np
import pytest
import xarray as xr

import skviz
from skviz.errors import SkvizError
from skviz.explorer.verdicts import verdicts

CONTROLS = ("object", "copies", "blur", "scrambled", "untrained 1", "untrained 2")


def study(claim: float, of: str = "net") -> xr.Dataset:
    """Shifts of twelve images in one unit: copies move it as far, scrambled farther, blur not."""
    noise = np.random.default_rng(0).normal(0, 0.002, (len(CONTROLS), 12, 1))
    way = np.sign(claim)
    means = np.array([claim, claim, 0.0, claim + 0.1 * way, 0.01, -0.03])
    dims = ("control", "image", "unit")
    coords = {
        "control": list(CONTROLS),
        "image": [f"{i}" for i in range(12)],
        "unit": ["a"],
        "category": ("image", [f"c{i}" for i in range(12)]),
        "scale": [0.5, 1.0, 2.0],
    }
    made = xr.Dataset({"shift": (dims, means[:, None, None] + noise)}, coords)
    return made.assign_attrs(model_sha256=of)


@pytest.mark.parametrize("claim", [0.3, -0.3])
def test_what_does_as_much_or_more_is_named_whichever_way_it_goes(monkeypatch, small_net, claim):
    monkeypatch.setattr("skviz.explorer.verdicts.weights_hash", lambda _: "net")
    found = verdicts(study(claim), {"one": small_net})
    assert (found["network"], found["count"], found["scales"]) == ("one", 12, [0.5, 2.0])
    rows = {row["name"]: row for row in found["units"]["a"]}
    words = {name: row["verdict"] for name, row in rows.items()}
    assert words == {
        "object": "moves", "copies": "as much", "blur": "less", "scrambled": "more",
        "untrained": "less",
    }  # fmt: skip
    assert rows["object"]["shift"] == pytest.approx(claim, abs=0.002)
    assert rows["object"]["low"] < rows["object"]["shift"] < rows["object"]["high"]
    untrained = rows["untrained"]
    assert untrained["low"] == pytest.approx(-0.03, abs=0.002)
    assert untrained["high"] == pytest.approx(0.01, abs=0.002)


def test_a_unit_that_does_not_move_is_not_said_to(monkeypatch, small_net):
    monkeypatch.setattr("skviz.explorer.verdicts.weights_hash", lambda _: "net")
    still = study(0.3).isel(control=[0, 1])
    still["shift"] = still["shift"] - 0.3
    (row, _) = verdicts(still, {"one": small_net})["units"]["a"]
    assert row["verdict"] == "undecided"


def test_controls_of_another_network_and_other_studies_are_refused(small_net, few):
    scenes = skviz.place(few[:3], canvas=32)
    asked = {"scales": [0.5, 1.0], "progress": False}
    own = skviz.controls(small_net, scenes, names=["copies"], seeds=1, **asked)
    explorer = skviz.explore(small_net, few[:1], scales=[0.5, 1.0], canvas=32, controls=own)
    assert list(explorer.controls["units"]) == own["unit"].values.tolist()
    explorer.close()
    with pytest.raises(SkvizError, match="of none of the networks objects"):
        skviz.explore(skviz.load("objects"), controls=own)
    with pytest.raises(SkvizError, match=r"takes what skviz\.controls gives"):
        skviz.explore(small_net, few, controls=skviz.sweep(small_net, scenes, **asked))
