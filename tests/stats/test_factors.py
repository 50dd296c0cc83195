"""Main effects are those that were put in, and are said to be what the data can tell."""

from itertools import product

import numpy as np
import pytest
import scipy
import xarray as xr

from skviz import stats
from skviz.errors import SkvizError

LEVELS = {
    "size": [0.5, 1.0], "copies": [1, 4], "blur": [1.0, 2.0], "background": [1.0, 2.0],
    "scattered": [0, 1],
}  # fmt: skip


def experiment(noise: float = 0.0, images: int = 30, networks: int = 1, **effects: float):
    """An experiment whose units move by known amounts for every doubling, one unit for each."""
    rng = np.random.default_rng(0)
    cells = dict(zip(LEVELS, np.array(list(product(*LEVELS.values())), float).T, strict=True))
    area = rng.uniform(0.1, 0.2, (images, 1))
    coverage = area * cells["size"] ** 2 * cells["copies"]
    doubled = {
        "size": np.broadcast_to(np.log2(cells["size"]), coverage.shape),
        "coverage": np.log2(coverage),
        "blur": np.broadcast_to(np.log2(cells["blur"]), coverage.shape),
        "background": np.broadcast_to(np.log2(cells["background"]), coverage.shape),
        "position": np.broadcast_to(cells["scattered"], coverage.shape),
    }
    values = np.stack([size * doubled[name] for name, size in effects.items()], -1)
    values = values + rng.normal(0, 0.1, (networks, images, 1, 1))  # images differ in their level
    values = values + rng.normal(0, noise, values.shape)
    return xr.Dataset(
        {
            "attention_difference": (("network", "image", "cell", "unit"), values),
            "coverage": (("image", "cell"), coverage),
        },
        coords={
            "network": [f"network {i}" for i in range(networks)],
            "image": [f"image {i}" for i in range(images)],
            "category": ("image", [f"category {i}" for i in range(images)]),
            "unit": list(effects),
        }
        | {name: ("cell", values) for name, values in cells.items()},
    )


EFFECTS = {"size": -0.03, "coverage": 0.05, "blur": 0.01, "background": -0.02, "position": 0.04}


def test_each_factor_is_told_from_the_others():
    """Size and coverage, too, though a larger object covers more."""
    found = stats.main_effects(experiment(1e-6, **EFFECTS)).isel(network=0)
    for unit, size in EFFECTS.items():
        for term in found["term"].values:
            expected = size if term == unit else 0
            here = found["estimate"].sel(term=term, unit=unit)
            assert float(here) == pytest.approx(expected, abs=1e-5)
    # One object that grows to twice its size covers four times as much.
    assert float(found["growth"].sel(unit="size")) == pytest.approx(-0.03, abs=1e-5)
    assert float(found["growth"].sel(unit="coverage")) == pytest.approx(0.10, abs=1e-5)
    assert float(found["added"].sel(unit="coverage")) == pytest.approx(0.10, abs=1e-5)
    share = found["share_of_growth"].sel(unit="coverage", part="coverage")
    assert float(share) == pytest.approx(1, abs=1e-3)


def test_an_interaction_is_not_a_main_effect():
    ds = experiment(size=0.0, coverage=0.0)
    wide = {k: np.log2(ds[k]) - np.log2(ds[k]).mean() for k in ("size", "blur")}
    ds["attention_difference"] = ds["attention_difference"] + 0.1 * wide["size"] * wide["blur"]
    found = stats.main_effects(ds).isel(network=0, unit=0)["estimate"]
    assert float(found.sel(term="size × blur")) == pytest.approx(0.1)
    assert float(found.sel(term=["size", "coverage", "blur"]).max()) == pytest.approx(0, abs=1e-9)


def test_verdicts_are_those_of_the_tests_by_hand():
    found = stats.main_effects(experiment(0.05, **EFFECTS)).isel(network=0)
    assert found["verdict"].sel(term="coverage", unit="coverage") == "moves"
    assert found["verdict"].sel(term="blur", unit="coverage") == "none"
    assert float(found["margin"].sel(unit="coverage")) == pytest.approx(0.02)  # a quarter is more
    quarter = abs(float(found["growth"].sel(unit="size"))) / 4
    assert float(found["margin"].sel(unit="size")) == pytest.approx(quarter)


def test_a_share_is_given_only_where_main_effects_add_up():
    ds = experiment(0.001, size=0.0, coverage=0.05)
    share = stats.main_effects(ds)["share_of_growth"].sel(part="coverage", unit="coverage")
    assert float(share.item()) == pytest.approx(1, abs=0.05)
    # Growth that an interaction of size with coverage makes is no sum of the two.
    both = np.log2(ds["size"]) * np.log2(ds["copies"])
    ds["attention_difference"] = ds["attention_difference"] + 0.1 * both
    assert stats.main_effects(ds)["share_of_growth"].isnull().all()


def test_what_the_cells_cannot_tell_apart_is_an_error():
    ds = experiment(**EFFECTS)
    single = ds.isel(cell=np.flatnonzero((ds["copies"] == 1) & (ds["blur"] == ds["background"])))
    with pytest.raises(SkvizError, match="cannot tell"):
        stats.main_effects(single)
    with pytest.raises(SkvizError, match="nothing changes"):
        stats.main_effects(ds.isel(cell=[0]))


def test_trainings_are_the_sample():
    rng = np.random.default_rng(1)
    ds = experiment(0.02, networks=4, coverage=0.05)
    each = xr.DataArray(rng.normal(0, 0.03, 4), dims="network")
    ds["attention_difference"] = ds["attention_difference"] + each * np.log2(ds["coverage"])
    found = stats.main_effects(ds)
    over = stats.over_networks(found).sel(term="coverage", unit="coverage")
    values = found["estimate"].sel(term="coverage", unit="coverage").values
    mean, error = values.mean(), values.std(ddof=1) / 2
    reach = scipy.stats.t.ppf(0.975, 3) * error
    assert float(over["estimate"]) == pytest.approx(mean)
    assert float(over["low"]) == pytest.approx(mean - reach)
    assert float(over["high"]) == pytest.approx(mean + reach)
    assert float(over["p"]) == pytest.approx(2 * scipy.stats.t.sf(abs(mean) / error, 3))
    with pytest.raises(SkvizError, match="several"):
        stats.over_networks(found.isel(network=[0]))
