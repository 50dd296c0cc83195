import numpy as np
import pytest

import skviz
from skviz.stats.streaming import Moments, histogram, summary


@pytest.fixture
def values() -> np.ndarray:
    made = np.random.default_rng(0).uniform(-1, 1, (1000, 3, 2)).astype(np.float32)
    made[:, 1, 0] = 0.7 + 1e-6 * made[:, 1, 0]  # a small spread far from 0
    made[::7, 2, 1] = np.nan
    return made


def test_moments_are_those_of_numpy_however_they_are_cut(values):
    exact = values.astype(np.float64)
    generator = np.random.default_rng(1)
    for _ in range(5):
        cuts = np.sort(generator.integers(0, len(values), 9))
        found = sum(map(Moments.of, np.split(values, cuts)), Moments.of(values[:0]))
        np.testing.assert_allclose(found.average, np.nanmean(exact, 0), rtol=1e-12)
        np.testing.assert_allclose(found.variance, np.nanvar(exact, 0, ddof=1), rtol=1e-10)
        np.testing.assert_array_equal(found.count, (~np.isnan(values)).sum(0))


def test_histogram_is_that_of_numpy(values):
    values[0, 0, 0], values[1, 0, 0] = 1, -1
    whole = histogram(values[:300], 10) + histogram(values[300:], 10)
    for place in np.ndindex(3, 2):
        column = values[:, *place]
        expected, _ = np.histogram(column[~np.isnan(column)], bins=10, range=(-1, 1))
        np.testing.assert_array_equal(whole[place], expected)


def test_nothing_known_is_nan():
    found = Moments.of(np.full((3, 1), np.nan))
    assert np.isnan(found.average).all()
    assert np.isnan(found.variance).all()
    assert np.isnan(Moments.of(np.zeros((1, 1))).variance).all()


def test_summary_of_a_sweep(ds):
    found = summary(ds, size=2, bins=20)
    difference = skviz.attention_difference(ds)
    np.testing.assert_allclose(found["mean"], difference.mean("image"), atol=1e-10)
    change = difference - difference.isel(scale=0, drop=True)
    np.testing.assert_allclose(found["change"], change.mean("image"), atol=1e-10)
    spread = change.var("image", ddof=1)
    np.testing.assert_allclose(found["change_variance"], spread, atol=1e-10)
    assert (found["histogram"].sum("bin") == ds.sizes["image"]).all()
