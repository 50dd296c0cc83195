import numpy as np
import pytest
import scipy.stats
import xarray as xr

from skviz.errors import SkvizError
from skviz.stats.population import area_correlation, by_category, mixed_effects

SLOPES = {"ant": 0.02, "bee": 0.08, "cow": 0.05}


def made(difference: np.ndarray, scales: np.ndarray, names: np.ndarray) -> xr.Dataset:
    """A sweep with these attention differences, (image, scale, unit)."""
    weight = np.stack([0.5 - difference / 2, 0.5 + difference / 2], -1)
    units = ["a", "b"][: difference.shape[2]]
    return xr.Dataset(
        {"weight": (("image", "scale", "unit", "branch"), weight)},
        coords={
            "image": np.arange(len(names)),
            "scale": scales,
            "unit": units,
            "kernel": (("unit", "branch"), [[3.0, 5.0]] * len(units)),
            "category": ("image", names),
        },
    )


@pytest.fixture(scope="module")
def study() -> xr.Dataset:
    """Made data: category, image and noise vary by 0.05, 0.03 and 0.01; unit b does not move."""
    generator = np.random.default_rng(0)
    scales, each = np.array([1.0, 2.0, 4.0]), 30
    names = np.repeat(list(SLOPES), each)
    offset = np.repeat(generator.normal(0, 0.05, len(SLOPES)), each)
    area = generator.uniform(0.1, 0.5, len(names))
    image = generator.normal(0, 0.03, len(names))
    slope = np.array([SLOPES[n] for n in names])
    difference = np.zeros((len(names), 3, 2))
    difference[:, :, 0] = (offset + image)[:, None] + slope[:, None] * np.log2(scales)
    difference[:, :, 1] = area[:, None] ** 3
    difference += generator.normal(0, 0.01, difference.shape)
    problem = np.where(np.arange(len(names)) == 89, "gone", "")
    return made(difference, scales, names).assign(area=("image", area), problem=("image", problem))


def test_categories_are_ranked_by_their_shift(study):
    table = by_category(study)
    assert table["category"].values.tolist() == ["ant", "bee", "cow"]
    assert table["rank"].sel(unit="a").values.tolist() == [3, 1, 2]
    for name, slope in SLOPES.items():
        here = table.sel(category=name, unit="a")
        error = 0.01 * np.sqrt(2 / 30)
        assert abs(here["estimate"] - 2 * slope) < 4 * error  # two doublings
        assert 2 * error < here["high"] - here["low"] < 6 * error
    assert (table["p_holm"].sel(unit="a") < 1e-4).all()


def test_area(study):
    found = area_correlation(study)
    kept = study.isel(image=slice(0, 89))
    difference = kept["weight"].isel(branch=1) - kept["weight"].isel(branch=0)
    for scale in (1.0, 4.0):
        expected = scipy.stats.spearmanr(kept["area"], difference.sel(scale=scale, unit="b"))
        here = found.sel(scale=scale, unit="b")
        np.testing.assert_allclose([here["rho"], here["p"]], expected, atol=1e-12)
        assert here["rho"] > 0.7
    assert abs(found["rho"].sel(unit="a")).max() < 0.3
    one = area_correlation(study.isel(unit=[1], scale=[0]))
    np.testing.assert_allclose(one["rho"].squeeze(), found["rho"].sel(unit="b")[0])


def test_area_must_be_known(study):
    with pytest.raises(SkvizError, match="masks"):
        area_correlation(study.drop_vars("area"))


def test_mixed_effects_find_what_was_put_in(study):
    found = mixed_effects(study, "a")
    assert found["low"] < np.mean(list(SLOPES.values())) < found["high"]
    # As many images of each category: the estimate is the mean of the categories' own slopes.
    kept = study.isel(image=slice(0, 89))
    moved = (kept["weight"].isel(branch=1) - kept["weight"].isel(branch=0)).sel(unit="a")
    own = (moved.sel(scale=4.0) - moved.sel(scale=1.0)).groupby("category").mean().values / 2
    error = own.std(ddof=1) / np.sqrt(len(own))
    assert found["slope"] == pytest.approx(own.mean(), rel=1e-3)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.03)
    assert found["scene"] ** 0.5 == pytest.approx(0.03, rel=0.3)
    still = mixed_effects(study, "b")
    assert still["low"] < 0 < still["high"]


def test_mixed_effects_find_nothing_where_images_only_differ():
    """With slopes of their own that average 0, p lies below 5 % in about 5 % of the data sets."""
    generator = np.random.default_rng(0)
    count, doublings = 24, np.arange(3)
    found = []
    for _ in range(40):
        slopes = generator.normal(0, 0.05, (count, 1))
        level = generator.normal(0, 0.03, (count, 1))
        difference = level + slopes * doublings + generator.normal(0, 0.01, (count, 3))
        ds = made(difference[:, :, None], 2.0**doublings, np.repeat(["ant", "bee"], count // 2))
        found.append(mixed_effects(ds, "a"))
    assert sum(fit["p"] < 0.05 for fit in found) <= 6
    slope = np.mean([fit["scene_slope"] for fit in found]) ** 0.5
    assert slope == pytest.approx(0.05, rel=0.1)


def test_mixed_effects_have_the_levels_of_the_data():
    """Two families of other slopes, five cut-outs of each category, two scenes of each."""
    rng = np.random.default_rng(1)
    scales, many = np.array([1.0, 2.0, 4.0]), 80
    names = np.repeat(list("abcdefgh"), 10)
    cut_out = np.arange(many) // 2
    family = np.where(cut_out % 5 < 2, "pen", "ink")
    of_category = rng.normal(0, 0.03, 8)
    slope = of_category[np.arange(many) // 10] + rng.normal(0, 0.02, 40)[cut_out]
    slope += np.where(family == "pen", 0.2, 0.1)
    level = rng.normal(0, 0.05, 40)[cut_out]
    difference = level[:, None] + slope[:, None] * np.log2(scales)
    difference += rng.normal(0, 0.005, difference.shape)
    ds = made(difference[:, :, None], scales, names)
    ds = ds.assign_coords(image=[f"cut-out {i}" for i in cut_out], family=("image", family))
    found = mixed_effects(ds, "a")
    assert found["levels"] == ["category", "image", "family", "scene"]
    assert found["low"] < 0.15 < found["high"]  # the mean of the families, however many each has
    assert found["category_slope"] ** 0.5 == pytest.approx(of_category.std(ddof=1), abs=0.012)
    assert found["image_slope"] ** 0.5 == pytest.approx(0.02, rel=0.4)
    # What limits the mean slope is how much 8 categories and 40 cut-outs differ, not 80 scenes.
    error = np.sqrt(found["category_slope"] / 8 + found["image_slope"] / 40)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_a_category_of_one_image_is_named(study):
    with pytest.raises(SkvizError, match="one alone has cow"):
        by_category(study.isel(image=slice(0, 61)))


def test_one_scale_is_no_change(study):
    with pytest.raises(SkvizError, match="two scales"):
        by_category(study.isel(scale=[0]))
