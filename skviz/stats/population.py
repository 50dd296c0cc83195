"""What a study over many images says: who shifts most, what goes with area, what scale does."""

import warnings
from typing import Any

import numpy as np
import scipy
import xarray as xr

from skviz import stats
from skviz.errors import SkvizError
from skviz.stats.measures import there

AGREED = 0.1  # log-likelihoods that differ by less are of one fit


def by_category(ds: xr.Dataset) -> xr.Dataset:
    """Say for each category how far the units shift, and rank the categories.

    Parameters
    ----------
    ds
        A sweep over at least two scales, with at least two images of each category.

    Returns
    -------
    xarray.Dataset
        (category, unit): what ``skviz.stats.paired` says of the change from the first to the last
        scale (p values corrected over units), and ``rank``, 1 for the category that shifts most
        towards the larger kernel.
    """
    moved = stats.ends(stats.attention_difference(there(ds, ds)))
    names, counts = np.unique(moved["category"].values, return_counts=True)
    if counts.min() < 2:
        few = ", ".join(map(str, names[counts < 2]))
        raise SkvizError(f"a category needs at least two images; one alone has {few}")
    found = [stats.paired(moved.isel(image=(moved["category"] == n).values)) for n in names]
    table = xr.concat(found, "category", coords="minimal", compat="override")
    table = table.assign_coords(category=names)
    ranks = scipy.stats.rankdata(-table["estimate"].values, axis=0).astype(int)
    return table.assign(rank=(("category", "unit"), ranks))


def area_correlation(ds: xr.Dataset) -> xr.Dataset:
    """Correlate the attention difference with the area of the object, over images.

    Parameters
    ----------
    ds
        A study of scenes with masks (``area``).

    Returns
    -------
    xarray.Dataset
        (scale, unit): Spearman's ``rho``, its ``p`` value, and ``p_holm``, corrected over units.

    Raises
    ------
    SkvizError
        If no areas are known.
    """
    ds = there(ds, ds)
    if "area" not in ds or bool(ds["area"].isnull().all()):
        raise SkvizError("the areas of the objects are unknown: sweep scenes with masks to a store")
    values = stats.attention_difference(ds)
    result = scipy.stats.spearmanr(ds["area"].values, values.values.reshape(len(values), -1))
    shape = values.shape[1:]
    # spearmanr gives a number for two columns, and a matrix for more.
    rho, p = (np.reshape(part if np.ndim(part) == 0 else part[0, 1:], shape) for part in result)
    like = values.isel(image=0, drop=True).drop_vars("category", errors="ignore")
    return xr.Dataset(
        {
            "rho": like.copy(data=rho),
            "p": like.copy(data=p),
            "p_holm": like.copy(data=stats.holm(p)),
        }
    )


def mixed_effects(ds: xr.Dataset, unit: str) -> dict[str, Any]:
    """Fit: attention difference = level + slope · log2(scale) + noise, at all levels of the data.

    Every scene, every cut-out that several scenes share and every category that several share has
    a level and a slope of its own, all random. Design families are few, so their levels and slopes
    are fixed, and what is given is their mean. Without slopes of their own the interval would be
    far too narrow, because images differ in how far they move. Fitted by statsmodels' `MixedLM`,
    REML, twice by other ways, of which the likelier result counts.

    The cost grows with the square of the images of a category: take a few hundred of each.

    Parameters
    ----------
    ds
        A sweep over at least two scales. Images of one name are scenes of one cut-out;
        ``category`` and, if there, ``family`` are coordinates along ``image``.
    unit
        One of its units.

    Returns
    -------
    dict
        ``slope`` (change per doubling), ``low`` and ``high`` (its 95 % interval), ``p``; the
        ``levels`` that the data have; for each random one, such as ``category`` and
        ``category_slope``, its variance; and ``residual``.

    Raises
    ------
    SkvizError
        If statsmodels is not installed, or the fit does not converge.
    """
    try:
        from statsmodels.regression.mixed_linear_model import MixedLM
        from statsmodels.tools.sm_exceptions import ConvergenceWarning, SingularMatrixWarning
    except ImportError as error:
        raise SkvizError(
            "mixed_effects needs statsmodels: pip install skviz[population]"
        ) from error
    values = stats.attention_difference(there(ds, ds)).sel(unit=unit, drop=True)
    values = values.assign_coords(scene=("image", np.arange(values.sizes["image"])))
    table = values.to_dataframe("difference").reset_index()
    table["doublings"] = np.log2(table["scale"])
    table["everything"] = 0
    shared = {name: several(table, name) for name in ("category", "image", "family")}
    inner = ["scene", *(["image"] if shared["image"] else [])]
    fixed = "doublings * C(family, Sum)" if shared["family"] else "doublings"
    random = {name: f"0 + C({name})" for name in inner}
    random |= {f"{name}_slope": f"0 + C({name}):doublings" for name in inner}
    model = MixedLM.from_formula(
        f"difference ~ {fixed}",
        groups="category" if shared["category"] else "everything",
        re_formula="~doublings" if shared["category"] else "0",
        vc_formula=random,
        data=table,
    )
    with warnings.catch_warnings():
        # A variance that is 0, such as that of few categories, lies on the boundary: no failure.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", SingularMatrixWarning)
        # Each may stop where a variance is nearly 0, call that converged, and be far too sure.
        fits = [model.fit(method=method) for method in ("lbfgs", "powell")]
    fit = max(fits, key=lambda each: each.llf)
    if not any(each.converged and fit.llf - each.llf < AGREED for each in fits):
        raise SkvizError(f"the mixed-effects model of {unit!r} did not converge")
    low, high = fit.conf_int().loc["doublings"]
    variances = dict(zip(model.exog_vc.names, map(float, fit.vcomp), strict=True))
    if shared["category"]:
        of_category = np.diag(fit.cov_re)
        variances |= {"category": float(of_category[0]), "category_slope": float(of_category[1])}
    return {
        "slope": float(fit.params["doublings"]),
        "low": float(low),
        "high": float(high),
        "p": float(fit.pvalues["doublings"]),
        "levels": [name for name, there in shared.items() if there] + ["scene"],
        **variances,
        "residual": float(fit.scale),
    }


def several(table: Any, name: str) -> bool:
    """Whether a level says something: it has several members, and some of several scenes."""
    if name not in table:
        return False
    scenes = table.groupby(name)["scene"].nunique()
    return len(scenes) > 1 and bool((scenes > 1).any())
