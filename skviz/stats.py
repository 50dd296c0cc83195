"""What a sweep says, in numbers with intervals.

Everything here takes the tree that `skviz.sweep` makes (or its root Dataset) and gives labelled
arrays. Intervals are bootstrap intervals over images, the unit that was sampled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr

from skviz.errors import SkvizError

__all__ = ["attention_difference", "expected_kernel", "interval", "shift"]

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
    return (ds["weight"] * kernels(ds)).sum("branch").rename("expected kernel")


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
        comparisons along them stay paired.
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


def shift(ds: xr.DataTree | xr.Dataset) -> xr.Dataset:
    """Measure how far each unit's selection moves from the smallest to the largest scale.

    Parameters
    ----------
    ds
        A sweep over at least two scales.

    Returns
    -------
    xarray.Dataset
        Per unit: ``estimate``, ``low``, ``high`` (the mean over images of the paired change of the
        attention difference, with its 95 % bootstrap interval), ``share`` (fraction of images that
        move towards the larger kernel) and ``effect`` (mean ÷ standard deviation of the paired
        changes).

    Raises
    ------
    SkvizError
        If there is only one scale, or a unit's kernels are unknown.
    """
    if ds.sizes["scale"] < 2:
        raise SkvizError("a shift needs at least two scales; sweep over more")
    difference = attention_difference(ds)
    change = difference.isel(scale=-1, drop=True) - difference.isel(scale=0, drop=True)
    return interval(change).assign(
        share=(change > 0).mean("image"),
        effect=change.mean("image") / change.std("image", ddof=1),
    )
