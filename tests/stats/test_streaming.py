import numpy as np
import pytest

import skviz
from skviz.errors import SkvizError
from skviz.stats.streaming import Histogram, Moments, summary


@pytest.fixture
def values() -> np.ndarray:
    made = np.random.default_rng(0).uniform(-1, 1, (1000, 3, 2)).astype(np.float32)
    made[:, 1, 0] = 0.7 + 1e-3 * made[:, 1, 0]  # a small spread far from 0
    made[::7, 2, 1] = np.nan
    return made


def test_moments_are_those_of_numpy(values):
    found = Moments.of(values)
    exact = values.astype(np.float64)
    np.testing.assert_allclose(found.mean, np.nanmean(exact, 0), rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.variance, np.nanvar(exact, 0, ddof=1), rtol=1e-4)
    np.testing.assert_array_equal(found.count, (~np.isnan(values)).sum(0))


def test_any_order_and_any_cut_gives_the_same_bits(values):
    whole = Moments.of(values)
    generator = np.random.default_rng(1)
    for _ in range(20):
        cuts = np.sort(generator.integers(0, len(values), 9))
        parts = [Moments.of(part) for part in np.split(values, cuts)]
        while len(parts) > 1:  # merge any two
            a, b = generator.choice(len(parts), 2, replace=False)
            rest = [part for i, part in enumerate(parts) if i not in (a, b)]
            parts = [*rest, parts[a] + parts[b]]
        assert parts[0].mean.tobytes() == whole.mean.tobytes()
        assert parts[0].variance.tobytes() == whole.variance.tobytes()


def test_histogram_is_that_of_numpy(values):
    values[0, 0, 0], values[1, 0, 0] = 1, -1
    whole = Histogram.of(values[:300], bins=10) + Histogram.of(values[300:], bins=10)
    for place in np.ndindex(3, 2):
        column = values[:, *place]
        expected, _ = np.histogram(column[~np.isnan(column)], bins=10, range=(-1, 1))
        np.testing.assert_array_equal(whole.counts[place], expected)


def test_nothing_known_is_nan():
    found = Moments.of(np.full((3, 1), np.nan))
    assert np.isnan(found.mean).all()
    assert np.isnan(found.variance).all()
    assert np.isnan(Moments.of(np.zeros((1, 1))).variance).all()


def test_large_values_are_refused():
    with pytest.raises(SkvizError, match="between -8 and 8"):
        Moments.of(np.array([9.0]))


def test_summary_of_a_sweep(ds):
    found = summary(ds, size=2, bins=20)
    difference = skviz.attention_difference(ds)
    np.testing.assert_allclose(found["mean"], difference.mean("image"), atol=1e-10)
    change = difference - difference.isel(scale=0, drop=True)
    np.testing.assert_allclose(found["change"], change.mean("image"), atol=1e-10)
    spread = change.var("image", ddof=1)
    np.testing.assert_allclose(found["change_variance"], spread, atol=1e-10)
    assert (found["histogram"].sum("bin") == ds.sizes["image"]).all()
