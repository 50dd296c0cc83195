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


EXPERIMENTS = 400
DRAWS = {
    "normal": (lambda rng, shape: rng.normal(0, 1, shape), 0.0),
    "skewed": (lambda rng, shape: rng.exponential(1, shape), 1.0),
    "yes or no": (lambda rng, shape: (rng.random(shape) < 0.2).astype(float), 0.2),
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize(("many", "each"), [(5, 1), (16, 1), (60, 1), (16, 3)])
def test_interval_covers_the_truth_as_often_as_it_says(kind, many, each):
    """Also of few, of skewed, and of three scenes for each cut-out."""
    draw, truth = DRAWS[kind]
    rng = np.random.default_rng(1)
    rows = np.repeat(draw(rng, (many, EXPERIMENTS)), each, axis=0)
    if each > 1 and kind != "yes or no":
        rows = rows + rng.normal(0, 0.5, rows.shape)
    names = np.repeat([f"object {i}" for i in range(many)], each)
    values = xr.DataArray(rows, dims=("image", "experiment"), coords={"image": names})
    found = stats.interval(values)
    assert found.attrs["clusters"] == many
    covered = ((found["low"] <= truth) & (found["high"] >= truth)).mean()
    # 95 % is what is said; 1.1 % is the standard error of 400 experiments.
    assert 0.915 < float(covered) <= 1


def test_scenes_of_one_category_are_a_cluster_if_one_says_so():
    rng = np.random.default_rng(4)
    own = np.repeat(rng.normal(0, 1, 20), 4)
    values = xr.DataArray(
        own,
        dims="image",
        coords={"image": np.arange(80), "category": ("image", np.arange(80) // 4)},
    )
    apart, together = stats.interval(values), stats.interval(values, cluster="category")
    assert (apart.attrs["clusters"], together.attrs["clusters"]) == (80, 20)
    width = [float(found["high"] - found["low"]) for found in (apart, together)]
    # Four copies of one number are one number: √4 as wide, and Student's t of 19 instead of 79.
    assert 1.8 < width[1] / width[0] < 2.4
    alone = stats.interval(xr.DataArray(own[::4], dims="image"))
    for name in ("estimate", "low", "high"):
        assert float(together[name]) == pytest.approx(float(alone[name]), rel=1e-9)
    with pytest.raises(SkvizError, match=r"no coordinate 'family'.*category"):
        stats.interval(values, cluster="family")
    with pytest.raises(SkvizError, match="80 values need as many labels, got 3"):
        stats.interval(values, cluster=[1, 2, 3])


def test_clusters_of_other_sizes_against_the_sandwich_of_statsmodels():
    """The standard error between clusters is that of an intercept, cluster-robust."""
    import statsmodels.api as sm

    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(1200), rng.integers(1, 4, 1200))
    y = rng.normal(0, 1, 1200)[labels] + rng.normal(0, 1, len(labels))
    found = stats.interval(xr.DataArray(y, dims="image"), cluster=labels)
    fit = sm.OLS(y, np.ones((len(y), 1))).fit(
        cov_type="cluster", cov_kwds={"groups": labels, "use_correction": False}
    )
    half = float(found["high"] - found["low"]) / 2
    expected = scipy.stats.t.ppf(0.975, 1199) * fit.bse[0] * np.sqrt(1200 / 1199)
    assert half == pytest.approx(expected, rel=1e-6)


def test_wilsons_interval_against_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    values = xr.DataArray(np.arange(2000) % 5 == 0, dims="image")
    found = stats.interval(values)
    low, high = proportion_confint(400, 2000, method="wilson")
    assert float(found["low"]) == pytest.approx(low, abs=2e-5)  # t of 1999 for the normal
    assert float(found["high"]) == pytest.approx(high, abs=2e-5)


def test_interval_is_paired_along_other_dimensions():
    """Columns that differ by a constant keep differing by it in every resample."""
    values = np.random.default_rng(2).normal(0, 1, 30)
    found = stats.interval(xr.DataArray(np.stack([values, values + 1], 1), dims=("image", "scale")))
    np.testing.assert_allclose(found["low"].diff("scale"), 1)
    np.testing.assert_allclose(found["high"].diff("scale"), 1)


def test_fewer_than_five_have_a_mean_and_no_interval():
    four = xr.DataArray([1.0, 2.0, 3.0, 6.0], dims="image")
    with pytest.raises(SkvizError, match="at least 5 independent values along 'image', got 4"):
        stats.interval(four)
    found = stats.estimate(four)
    assert float(found["estimate"]) == 3
    assert np.isnan([found["low"], found["high"]]).all()
    assert "no interval" in found.attrs["method"]
    twelve = four.isel(image=[0, 1, 2, 3] * 3).assign_coords(image=list("abcd") * 3)
    with pytest.raises(SkvizError, match="got 4"):  # as many numbers, as few objects
        stats.interval(twelve)


def test_missing_images_do_not_count_and_missing_values_are_not_made_up():
    values = np.random.default_rng(6).normal(0, 1, (9, 2))
    values[3] = np.nan
    values[5, 1] = np.nan
    found = stats.interval(xr.DataArray(values, dims=("image", "unit")))
    assert found.attrs["images"] == 8
    assert float(found["estimate"][0]) == pytest.approx(np.nanmean(values[:, 0]))
    assert np.isnan([found[name].values[1] for name in ("estimate", "low", "high")]).all()


def test_shift_finds_a_planted_one():
    rng = np.random.default_rng(3)
    first = 0.5 + 0.05 * rng.normal(size=(200, 1, 1))
    change = rng.normal(0.1, 0.04, (200, 1, 1))
    larger = np.concatenate([first, first + change], 1)  # (image, scale, unit)
    found = stats.shift(made(np.stack([1 - larger, larger], -1), [[3, 5]]))
    assert float(found["estimate"][0]) == pytest.approx(2 * change.mean())
    assert float(found["share"][0]) == pytest.approx((change > 0).mean())
    assert float(found["d_z"][0]) == pytest.approx(change.mean() / change.std(ddof=1))
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
        assert found["d_z"].item(unit) == pytest.approx(own.mean() / own.std(ddof=1))
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
    assert found["d_z"].values.tolist() == [0, 0]


def controlled(shifts: dict[str, np.ndarray]) -> xr.Dataset:
    """What `skviz.controls` would give for one unit."""
    values = np.stack(list(shifts.values()))[..., None]
    return xr.Dataset(
        {"shift": (("control", "image", "unit"), values)},
        coords={"control": list(shifts), "unit": ["u"], "image": np.arange(values.shape[1])},
    )


def test_two_are_called_the_same_only_within_the_margin_that_was_fixed():
    rng = np.random.default_rng(7)
    claim = rng.normal(0.2, 0.02, 60)
    found = stats.compare(
        controlled(
            {
                "object": claim,
                "twin": claim + rng.normal(0, 0.01, 60),
                "half": claim / 2,
                "noise": claim + rng.normal(0.01, 0.1, 60),
            }
        )
    )
    assert float(found["margin"][0]) == 0.02  # the smaller of 0.02 and 0.05
    assert found["verdict"].values[:, 0].tolist() == ["claim", "same", "differs", "undecided"]
    small = stats.compare(controlled({"object": claim / 10, "twin": claim / 10 - 0.01}))
    assert float(small["margin"][0]) == pytest.approx(claim.mean() / 40)
    assert small["verdict"].values[1, 0] == "differs"  # 0.01 is much of 0.02


def test_the_test_of_equivalence_against_statsmodels():
    from statsmodels.stats.weightstats import DescrStatsW

    rng = np.random.default_rng(8)
    claim, other = rng.normal(0.1, 0.03, 25), rng.normal(0.095, 0.03, 25)
    found = stats.compare(controlled({"object": claim, "other": other}))
    p, *_ = DescrStatsW(claim - other).ttost_mean(-0.02, 0.02)
    assert float(found["p_same"][1, 0]) == pytest.approx(p, rel=1e-9)


def test_p_values_count_clusters_not_images():
    rng = np.random.default_rng(9)
    change = rng.normal(0.3, 1, 12)
    many = xr.DataArray(np.repeat(change, 5), dims="image", coords={"image": np.arange(60) // 5})
    found = stats.paired(many)
    assert float(found["p"]) == pytest.approx(scipy.stats.wilcoxon(change).pvalue)
    assert float(found["share"]) == pytest.approx((change > 0).mean())


def test_the_share_counts_what_grows_among_what_was_measured():
    """What stays as it is has not grown; an image without a value is not counted at all."""
    change = np.array([[0.1, -0.1, 0.2], [0.0, np.nan, 0.1], [-0.2, 0.3, np.nan], [0.4, 0.2, 0.5]])
    found = stats.paired(xr.DataArray(change, dims=("image", "unit")))
    np.testing.assert_allclose(found["share"], [2 / 4, 2 / 3, 3 / 3])
    still = stats.paired(xr.DataArray(np.zeros((5, 1)), dims=("image", "unit")))
    assert still["share"].values.tolist() == [0]
