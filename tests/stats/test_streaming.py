import numpy as np
import pytest
import xarray as xr

import skviz
from skviz.stats.streaming import histogram, summary


@pytest.fixture
def values() -> np.ndarray:
    made = np.random.default_rng(0).uniform(-1, 1, (1000, 3, 2)).astype(np.float32)
    made[:, 1, 0] = 0.7 + 1e-6 * made[:, 1, 0]  # a small spread far from 0
    made[::7, 2, 1] = np.nan
    return made


def study(values: np.ndarray) -> xr.Dataset:
    """A sweep of units of two branches that has these attention differences."""
    weight = np.stack([(1 - values) / 2, (1 + values) / 2], 3)
    units = [f"u{number}" for number in range(values.shape[2])]
    return xr.Dataset(
        {"weight": (("image", "scale", "unit", "branch"), weight)},
        {
            "unit": units, "scale": np.arange(1.0, 1 + values.shape[1]),
            "kernel": (("unit", "branch"), [[3, 5]] * len(units)),
        },
    )  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 333, 2000])
def test_moments_are_those_of_numpy_however_they_are_cut(values, size):
    found = summary(study(values.astype(np.float64)), size=size)
    exact = values.astype(np.float64)
    change = exact - exact[:, :1]
    for name, of in (("mean", exact), ("change", change)):
        np.testing.assert_allclose(found[name], np.nanmean(of, 0), rtol=1e-12, atol=1e-15)
    for name, of in (("variance", exact), ("change_variance", change)):
        np.testing.assert_allclose(found[name], np.nanvar(of, 0, ddof=1), rtol=1e-7, atol=1e-25)
    np.testing.assert_array_equal(found["count"], (~np.isnan(values)).sum(0))


def test_histogram_is_that_of_numpy(values):
    values[0, 0, 0], values[1, 0, 0] = 1, -1
    whole = histogram(values[:300], 10) + histogram(values[300:], 10)
    for place in np.ndindex(3, 2):
        column = values[:, *place]
        expected, _ = np.histogram(column[~np.isnan(column)], bins=10, range=(-1, 1))
        np.testing.assert_array_equal(whole[place], expected)


def test_nothing_known_is_nan():
    nothing = summary(study(np.full((3, 2, 1), np.nan)))
    assert nothing[["mean", "variance"]].isnull().all().to_array().all()
    assert summary(study(np.zeros((1, 2, 1))))["variance"].isnull().all()


def test_summary_of_a_sweep(ds):
    found = summary(ds, size=2, bins=20)
    difference = skviz.attention_difference(ds)
    np.testing.assert_allclose(found["mean"], difference.mean("image"), atol=1e-10)
    change = difference - difference.isel(scale=0, drop=True)
    np.testing.assert_allclose(found["change"], change.mean("image"), atol=1e-10)
    spread = change.var("image", ddof=1)
    np.testing.assert_allclose(found["change_variance"], spread, atol=1e-10)
    assert (found["histogram"].sum("bin") == ds.sizes["image"]).all()
