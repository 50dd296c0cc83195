"""A study of any size in little memory: moments and histograms, part after part."""

from typing import Any

import numpy as np
import xarray as xr

from skviz import stats


def histogram(values: np.ndarray, bins: int) -> np.ndarray:
    """Count the values (N, …) in each of the bins between -1 and 1: (…, bin); NaN is in none."""
    place = np.clip(np.floor((values + 1) * bins / 2), 0, bins - 1)
    return np.stack([(place == b).sum(0) for b in range(bins)], -1)


def summary(ds: xr.Dataset, *, size: int = 1024, bins: int = 40) -> xr.Dataset:
    """Summarise the attention difference of a study of any size, reading `size` images at a time.

    Parameters
    ----------
    ds
        A sweep, such as a store read lazily.
    size, bins
        Images per part, and bins of the histogram.

    Returns
    -------
    xarray.Dataset
        ``mean``, ``variance`` and ``count`` (scale, unit); ``change`` and ``change_variance``, of
        the paired difference to the first scale; ``histogram`` (scale, unit, bin).
    """
    sums: Any = 0  # of (level or change, scale, unit): how many, and of what they lie off a centre
    counts: Any = 0
    for start in range(0, ds.sizes["image"], size):
        part = ds[["weight", "kernel"]].isel(image=slice(start, start + size)).load()
        level = stats.attention_difference(part).values.astype(np.float64)
        values = np.stack([level, level - level[:, :1]], 1)
        known = ~np.isnan(values)
        if not start:  # near the mean, so that no digit is lost where a small spread lies far off 0
            centre = np.where(known, values, 0).sum(0) / known.sum(0).clip(min=1)
        away = np.where(known, values - centre, 0)
        sums = sums + np.stack([known.sum(0), away.sum(0), (away**2).sum(0)])
        counts = counts + histogram(level, bins)
    count, total, squares = sums
    many = np.where(count > 0, count, np.nan)
    mean = centre + total / many
    variance = (squares - total**2 / many) / np.where(count > 1, count - 1, np.nan)
    edges = np.linspace(-1, 1, bins + 1)
    dims = ("scale", "unit")
    return xr.Dataset(
        {
            "mean": (dims, mean[0]),
            "variance": (dims, variance[0]),
            "count": (dims, count[0].astype(int)),
            "change": (dims, mean[1]),
            "change_variance": (dims, variance[1]),
            "histogram": ((*dims, "bin"), counts),
        },
        coords={"scale": ds["scale"], "unit": ds["unit"], "bin": (edges[1:] + edges[:-1]) / 2},
        attrs=ds.attrs,
    )
