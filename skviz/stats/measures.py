"""What a sweep says, in numbers with intervals.

Everything here takes the tree that `skviz.sweep` makes (or its root Dataset) and gives labelled
arrays. Intervals are bootstrap intervals over images, the unit that was sampled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import xarray as xr

from skviz.errors import SkvizError

__all__ = [
    "attention_difference",
    "compare",
    "expected_kernel",
    "holm",
    "interval",
    "paired",
    "shift",
]

RESAMPLES = 2000


def root(ds: xr.DataTree | xr.Dataset) -> xr.Dataset:
    """Return what all units share: the root of the tree."""
    return ds.to_dataset() if isinstance(ds, xr.DataTree) else ds


def kernels(ds: xr.Dataset) -> xr.DataArray:
    """Return the effective kernels, (unit, branch), or raise `SkvizError` if a unit has none."""
    sizes = ds["kernel"]
    if bool(sizes.isnull().all("branch").any()):
        nameless = sizes.unit.values[sizes.isnull().all("branch").values]
        raise SkvizError(f"the kernels of {list(nameless)} are unknown; compare branches instead")
    return sizes


def attention_difference(ds: xr.DataTree | xr.Dataset) -> xr.DataArray:
    """Mean weight of the largest kernel minus mean weight of the smallest (section 4.4).

    Parameters
    ----------
    ds
        A sweep.

    Returns
    -------
    xarray.DataArray
        (image, scale, unit), between -1 and 1.

    Raises
    ------
    SkvizError
        If a unit's kernels are unknown.
    """
    ds = root(ds)
    sizes, weight = kernels(ds), ds["weight"]
    largest = weight.isel(branch=sizes.fillna(-np.inf).argmax("branch"))
    smallest = weight.isel(branch=sizes.fillna(np.inf).argmin("branch"))
    difference = (largest.drop_vars("kernel") - smallest.drop_vars("kernel")).transpose(
        "image", "scale", "unit"
    )
    return difference.rename("attention difference")


def expected_kernel(ds: xr.DataTree | xr.Dataset) -> xr.DataArray:
    """Σ weight · kernel, (image, scale, unit), in pixels of the unit's feature map."""
    ds = root(ds)
    return (ds["weight"] * kernels(ds)).sum("branch", min_count=1).rename("expected kernel")


def interval(
    values: xr.DataArray,
    *,
    over: str = "image",
    confidence: float = 0.95,
    statistic: Callable[..., Any] = np.mean,
    seed: int = 0,
) -> xr.Dataset:
    """Estimate a statistic over images and its bootstrap interval (percentile).

    Parameters
    ----------
    values
        Any dimensions, `over` among them.
    over
        The dimension that was sampled. All other dimensions are resampled together, so that
        comparisons along them stay paired. What is NaN throughout, such as an image that was
        skipped, does not count.
    confidence
        Of the interval.
    statistic
        Takes an array and ``axis``.
    seed
        Of the resampling.

    Returns
    -------
    xarray.Dataset
        ``estimate``, ``low`` and ``high``, without the dimension `over`.

    Raises
    ------
    SkvizError
        If there are fewer than two values to resample.
    """
    values = values.dropna(over, how="all")
    count = values.sizes[over]
    if count < 2:
        raise SkvizError(f"an interval needs at least two values along {over!r}, got {count}")
    array = values.transpose(over, ...)
    result = scipy.stats.bootstrap(
        (array.values,),
        statistic,
        axis=0,
        n_resamples=RESAMPLES,
        batch=50,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    like = array.isel({over: 0}, drop=True)
    bounds = result.confidence_interval
    return xr.Dataset(
        {
            "estimate": like.copy(data=statistic(array.values, axis=0)),
            "low": like.copy(data=bounds.low),
            "high": like.copy(data=bounds.high),
        }
    )


def paired(change: xr.DataArray, *, family: str = "unit") -> xr.Dataset:
    """Say how large a paired change is, how sure, and whether it could be chance.

    Parameters
    ----------
    change
        One value per image; any other dimensions. An image that is NaN throughout does not count.
    family
        The dimension over which p values are corrected.

    Returns
    -------
    xarray.Dataset
        Without the dimension image: ``estimate``, ``low`` and ``high`` (mean and its 95 % bootstrap
        interval over images), ``share`` (fraction of images above 0), ``effect`` (mean ÷ standard
        deviation, Cohen's d_z), ``p`` (Wilcoxon's signed-rank test against 0, two-sided) and
        ``p_holm`` (Holm's correction over the family).
    """
    change = change.dropna("image", how="all")
    array = change.transpose("image", ...)
    # Without any change there is nothing to rank, and nothing to be surprised at.
    still = (array == 0).all("image")
    p = scipy.stats.wilcoxon(array.where(~still, 1).values, axis=0).pvalue
    found = interval(change).assign(
        share=(change > 0).mean("image"),
        effect=(change.mean("image") / change.std("image", ddof=1)).where(~still, 0),
        p=array.isel(image=0, drop=True).copy(data=p).where(~still, 1.0),
    )
    if family not in found.dims:
        return found.assign(p_holm=found["p"])
    return found.assign(
        p_holm=xr.apply_ufunc(
            holm, found["p"], input_core_dims=[[family]], output_core_dims=[[family]]
        )
    )


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values along the last axis (Holm, Scand. J. Statist. 6, 1979)."""
    order = np.argsort(p, axis=-1)
    count = p.shape[-1]
    scaled = np.take_along_axis(p, order, -1) * (count - np.arange(count))
    corrected = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1)
    back = np.argsort(order, axis=-1)
    return np.take_along_axis(corrected, back, -1)


def shift(ds: xr.DataTree | xr.Dataset) -> xr.Dataset:
    """Measure how far each unit's selection moves from the smallest to the largest scale.

    Parameters
    ----------
    ds
        A sweep over at least two scales.

    Returns
    -------
    xarray.Dataset
        Per unit what `paired` says of the change of the attention difference.

    Raises
    ------
    SkvizError
        If there is only one scale, or a unit's kernels are unknown.
    """
    if ds.sizes["scale"] < 2:
        raise SkvizError("a shift needs at least two scales; sweep over more")
    difference = attention_difference(ds)
    return paired(difference.isel(scale=-1, drop=True) - difference.isel(scale=0, drop=True))


def compare(ds: xr.Dataset) -> xr.Dataset:
    """Test a claim against its controls, image by image.

    Parameters
    ----------
    ds
        From `skviz.controls`.

    Returns
    -------
    xarray.Dataset
        (control, unit): what `paired` says of each control's own shift, and as ``excess``,
        ``excess_low``, … of the claim's shift minus the control's, where p values are corrected
        over units. The excess of the claim over itself is 0.
    """
    own = paired(ds["shift"])
    excess = paired(ds["shift"].isel(control=0, drop=True) - ds["shift"])
    renamed = {name: f"excess_{name}" for name in excess.data_vars}
    return own.merge(excess.rename(renamed).rename(excess_estimate="excess"))
