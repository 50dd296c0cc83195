import numpy as np
import pytest
import scipy.stats
import xarray as xr

from skviz import stats
from skviz.errors import SkvizError


def made(weights: np.ndarray, kernels: list[list[float]]) -> xr.Dataset:
    """A sweep of made weights (image, scale, unit, branch)."""
    images, scales, units, _ = weights.shape
    return xr.Dataset(
        {"weight": (("image", "scale", "unit", "branch"), weights)},
        coords={
            "image": [f"image {i}" for i in range(images)],
            "scale": np.linspace(0.5, 2, scales),
            "unit": [f"unit {i}" for i in range(units)],
            "kernel": (("unit", "branch"), np.array(kernels, float)),
        },
    )


def test_attention_difference_goes_by_kernel_not_by_order():
    ds = made(np.array([[[[0.2, 0.5, 0.3]]]]), [[5, 3, 7]])
    assert stats.attention_difference(ds).item() == pytest.approx(0.3 - 0.5)


def test_units_with_fewer_branches():
    weights = np.array([[[[0.4, 0.6, np.nan], [0.2, 0.3, 0.5]]]])
    ds = made(weights, [[3, 5, np.nan], [7, 5, 3]])
    np.testing.assert_allclose(stats.attention_difference(ds).values, [[[0.2, 0.2 - 0.5]]])
    expected = [[[0.4 * 3 + 0.6 * 5, 0.2 * 7 + 0.3 * 5 + 0.5 * 3]]]
    np.testing.assert_allclose(stats.expected_kernel(ds).values, expected)


def test_unknown_kernels_are_an_error():
    ds = made(np.full((1, 1, 1, 2), 0.5), [[np.nan, np.nan]])
    with pytest.raises(SkvizError, match=r"unit 0.*unknown"):
        stats.attention_difference(ds)


def test_interval_agrees_with_students_t():
    """For many normal values the bootstrap interval of the mean is Student's, nearly."""
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = stats.interval(xr.DataArray(values, dims="image"))
    low, high = scipy.stats.t.interval(0.95, 399, values.mean(), scipy.stats.sem(values))
    assert float(found["estimate"]) == pytest.approx(values.mean())
    assert float(found["low"]) == pytest.approx(low, abs=0.02)
    assert float(found["high"]) == pytest.approx(high, abs=0.02)


def test_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(1).exponential(1.0, (60, 300))  # 300 experiments of 60 images
    found = stats.interval(xr.DataArray(draws, dims=("image", "experiment")))
    covered = ((found["low"] < 1) & (found["high"] > 1)).mean()
    assert 0.90 < float(covered) < 0.98


def test_interval_is_paired_along_other_dimensions():
    """Columns that differ by a constant keep differing by it in every resample."""
    values = np.random.default_rng(2).normal(0, 1, 30)
    found = stats.interval(xr.DataArray(np.stack([values, values + 1], 1), dims=("image", "scale")))
    np.testing.assert_allclose(found["low"].diff("scale"), 1)
    np.testing.assert_allclose(found["high"].diff("scale"), 1)


def test_interval_needs_two_values():
    with pytest.raises(SkvizError, match="at least two"):
        stats.interval(xr.DataArray([1.0], dims="image"))


def test_shift_finds_a_planted_one():
    rng = np.random.default_rng(3)
    first = 0.5 + 0.05 * rng.normal(size=(200, 1, 1))
    change = rng.normal(0.1, 0.04, (200, 1, 1))
    larger = np.concatenate([first, first + change], 1)  # (image, scale, unit)
    found = stats.shift(made(np.stack([1 - larger, larger], -1), [[3, 5]]))
    assert float(found["estimate"][0]) == pytest.approx(2 * change.mean())
    assert float(found["share"][0]) == pytest.approx((change > 0).mean())
    assert float(found["effect"][0]) == pytest.approx(change.mean() / change.std(ddof=1))
    assert float(found["low"][0]) < 0.2 < float(found["high"][0])


def test_shift_needs_two_scales():
    with pytest.raises(SkvizError, match="two scales"):
        stats.shift(made(np.full((3, 1, 1, 2), 0.5), [[3, 5]]))


def test_paired_against_scipy_by_hand():
    values = np.random.default_rng(3).normal(0.3, 1, (40, 3))
    change = xr.DataArray(values, dims=("image", "unit"))
    found = stats.paired(change)
    for unit in range(3):
        own = values[:, unit]
        assert found["p"].item(unit) == pytest.approx(scipy.stats.wilcoxon(own).pvalue)
        assert found["effect"].item(unit) == pytest.approx(own.mean() / own.std(ddof=1))
        assert found["share"].item(unit) == pytest.approx((own > 0).mean())
    by_hand = sorted((p, i) for i, p in enumerate(found["p"].values))
    largest = 0.0
    for rank, (p, unit) in enumerate(by_hand):
        largest = max(largest, min(1.0, p * (3 - rank)))
        assert found["p_holm"].item(unit) == pytest.approx(largest)


def test_holm_on_the_textbook_example():
    # Holm 1979: compare the k-th smallest p with alpha / (n − k + 1).
    p = np.array([[0.01, 0.04, 0.03, 0.005]])
    np.testing.assert_allclose(stats.holm(p), [[0.03, 0.06, 0.06, 0.02]])


def test_no_change_is_no_surprise():
    change = xr.DataArray(np.zeros((5, 2)), dims=("image", "unit"))
    found = stats.paired(change)
    assert found["p"].values.tolist() == [1, 1]
    assert found["effect"].values.tolist() == [0, 0]
