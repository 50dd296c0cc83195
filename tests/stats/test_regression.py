"""How much is explained: against what was put in, and against statsmodels."""

import numpy as np
import pytest
import statsmodels.api as sm
import xarray as xr

from skviz import stats
from skviz.errors import SkvizError
from skviz.stats.regression import FOLDS, divided


def pictures(noise: float, images: int = 2000, categories: int = 6, level: float = 0.0):
    """Pictures of two properties; the first raises the attention difference of a unit by 0.1."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(images, 1, 2))
    category = rng.integers(0, categories, images)
    difference = 0.1 * values[:, 0, 0] + rng.normal(0, noise, images) + level * category
    weight = np.stack([0.5 - difference / 2, 0.5 + difference / 2], 1)[:, None, None]
    return xr.Dataset(
        {
            "weight": (("image", "scale", "unit", "branch"), weight),
            "picture": (("image", "scale", "property"), values),
        },
        coords={
            "image": [f"image {i}" for i in range(images)],
            "scale": [1.0],
            "unit": ["unit"],
            "kernel": (("unit", "branch"), [[3.0, 5.0]]),
            "property": ["first", "second"],
            "category": ("image", [f"category {c}" for c in category]),
        },
    )


def test_what_explains_is_told_from_what_does_not():
    found = stats.explained(pictures(0.1)).isel(unit=0)
    r2, unique = found["estimate"], found["unique"]
    assert float(r2.sel(predictor="first")) == pytest.approx(0.5, abs=0.04)
    assert float(r2.sel(predictor="all")) == pytest.approx(0.5, abs=0.04)
    assert float(unique.sel(predictor="first")) == pytest.approx(0.5, abs=0.04)
    assert abs(float(r2.sel(predictor="second"))) < 0.01
    assert abs(float(r2.sel(predictor="category"))) < 0.01
    bounds = [float(found[name].sel(predictor="first")) for name in ("low", "high")]
    assert 0.3 < bounds[0] < float(r2.sel(predictor="first")) < bounds[1] < 0.7


def test_categories_have_levels_of_their_own():
    found = stats.explained(pictures(0.0, level=0.1))["estimate"].isel(unit=0)
    levels = 0.01 * np.arange(6).var()
    of_category = levels / (levels + 0.01)
    assert float(found.sel(predictor="category")) == pytest.approx(of_category, abs=0.03)
    assert float(found.sel(predictor="all")) > 0.999


def test_one_property_is_cross_validated_as_statsmodels_does():
    ds = pictures(0.2, images=200)
    y = stats.attention_difference(ds).values.ravel()
    z = ds["picture"].values[:, 0, 0]
    x = sm.add_constant(np.stack([z, z**2], 1))
    folds = divided(ds["image"].values, 0)
    error, nothing = np.empty_like(y), np.empty_like(y)
    for fold in range(FOLDS):
        test = folds == fold
        fit = sm.OLS(y[~test], x[~test]).fit()
        error[test] = y[test] - fit.predict(x[test])
        nothing[test] = y[test] - y[~test].mean()
    expected = 1 - (error**2).sum() / (nothing**2).sum()
    found = stats.explained(ds)["estimate"].sel(predictor="first").item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_pictures_of_one_image_are_never_on_both_sides():
    folds = divided(np.repeat(np.array([f"image {i}" for i in range(30)]), 3), 0)
    assert all(len(set(folds[i : i + 3])) == 1 for i in range(0, 90, 3))
    assert np.bincount(folds).tolist() == [9] * FOLDS


def test_too_few_pictures_or_nothing_to_explain():
    with pytest.raises(SkvizError, match="ten images"):
        stats.explained(pictures(0.1, images=8))
    ds = pictures(0.1, images=50)
    with pytest.raises(SkvizError, match="differ"):
        stats.explained(ds.assign(weight=ds["weight"] * 0 + 0.5))
