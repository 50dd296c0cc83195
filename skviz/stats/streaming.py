"""A study of any size in little memory: moments and histograms, part after part."""

from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import xarray as xr

from skviz import stats


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of values along their first axis; NaN does not count.

    Parts are merged as Chan, Golub and LeVeque (1979) do, in float64: no digit is lost where a
    small spread lies far from 0.

    Attributes
    ----------
    count, mean, squares
        How many values, their mean (0 where there is none), and the sum of the squares of their
        distances from it.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Collect values (N, …)."""
        values = np.asarray(values, np.float64)
        known = ~np.isnan(values)
        count = known.sum(0)
        mean = np.where(known, values, 0).sum(0) / count.clip(min=1)
        return cls(count, mean, (np.where(known, values - mean, 0) ** 2).sum(0))

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        apart = other.mean - self.mean
        share = other.count / count.clip(min=1)
        return type(self)(
            count,
            self.mean + apart * share,
            self.squares + other.squares + apart**2 * self.count * share,
        )

    @property
    def average(self) -> np.ndarray:
        """The mean; NaN where there is no value."""
        return np.where(self.count, self.mean, np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased; NaN where there are fewer than two values."""
        return self.squares / np.where(self.count > 1, self.count - 1, np.nan)


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
    levels, changes, counts = [], [], []
    for start in range(0, ds.sizes["image"], size):
        part = ds[["weight", "kernel"]].isel(image=slice(start, start + size)).load()
        values = stats.attention_difference(part).values.astype(np.float64)
        levels.append(Moments.of(values))
        changes.append(Moments.of(values - values[:, :1]))
        counts.append(histogram(values, bins))
    level, change = (reduce(Moments.__add__, parts) for parts in (levels, changes))
    edges = np.linspace(-1, 1, bins + 1)
    dims = ("scale", "unit")
    return xr.Dataset(
        {
            "mean": (dims, level.average),
            "variance": (dims, level.variance),
            "count": (dims, level.count),
            "change": (dims, change.average),
            "change_variance": (dims, change.variance),
            "histogram": ((*dims, "bin"), sum(counts)),
        },
        coords={"scale": ds["scale"], "unit": ds["unit"], "bin": (edges[1:] + edges[:-1]) / 2},
        attrs=ds.attrs,
    )
