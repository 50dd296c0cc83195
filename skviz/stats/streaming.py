"""Statistics that are collected part by part, and merge to the same bits in any order.

Sums are kept in whole multiples of 2⁻³⁶, so that adding them is exact; a weight or an expected
kernel, and its square, lose less than 10⁻¹¹ by that. Standard deviations below 10⁻⁵ are lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self

import numpy as np
import xarray as xr

from skviz import stats
from skviz.errors import SkvizError

__all__ = ["Histogram", "Moments", "summary"]

STEP = 2.0**-36
LARGEST = 8.0  # of a value; its square times two million images still fits


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of values along their first axis; NaN does not count.

    Attributes
    ----------
    count, total, squares
        int64 arrays: how many values, and the sums of them and of their squares, in `STEP`.
    """

    count: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Collect values (N, …) between -8 and 8.

        Raises
        ------
        SkvizError
            If a value is larger.
        """
        values = np.asarray(values, np.float64)
        known = ~np.isnan(values)
        values = np.where(known, values, 0)
        if np.abs(values).max(initial=0) > LARGEST:
            raise SkvizError(f"values must lie between -{LARGEST:g} and {LARGEST:g}")
        parts = (np.rint(v / STEP).astype(np.int64).sum(0) for v in (values, values**2))
        return cls(known.sum(0), *parts)

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> np.ndarray:
        """NaN where there is no value."""
        return self.total * STEP / np.where(self.count, self.count, np.nan)

    @property
    def variance(self) -> np.ndarray:
        """Unbiased; NaN where there are fewer than two values."""
        rest = self.squares * STEP - self.total * STEP * np.nan_to_num(self.mean)
        return rest.clip(min=0) / np.where(self.count > 1, self.count - 1, np.nan)


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values along the first axis lie in each of the bins between -1 and 1.

    Attributes
    ----------
    counts
        int64 (…, bin); the last bin holds 1 itself.
    """

    counts: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, *, bins: int = 40) -> Self:
        """Collect values (N, …); NaN does not count."""
        place = np.clip(np.floor((np.asarray(values) + 1) * bins / 2), 0, bins - 1)
        return cls(np.stack([(place == b).sum(0) for b in range(bins)], -1))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.counts + other.counts)


def summary(ds: xr.DataTree | xr.Dataset, *, size: int = 1024, bins: int = 40) -> xr.Dataset:
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
    root = stats.root(ds)
    parts = range(0, root.sizes["image"], size)

    def collect(start: int) -> tuple[Moments, Moments, Histogram]:
        part = root[["weight", "kernel"]].isel(image=slice(start, start + size)).load()
        values = stats.attention_difference(part).values.astype(np.float64)
        return (
            Moments.of(values),
            Moments.of(values - values[:, :1]),
            Histogram.of(values, bins=bins),
        )

    level, change, histogram = merged(map(collect, parts))
    edges = np.linspace(-1, 1, bins + 1)
    dims = ("scale", "unit")
    return xr.Dataset(
        {
            "mean": (dims, level.mean),
            "variance": (dims, level.variance),
            "count": (dims, level.count),
            "change": (dims, change.mean),
            "change_variance": (dims, change.variance),
            "histogram": ((*dims, "bin"), histogram.counts),
        },
        coords={"scale": root["scale"], "unit": root["unit"], "bin": (edges[1:] + edges[:-1]) / 2},
        attrs=root.attrs,
    )


def merged(
    parts: Iterable[tuple[Moments, Moments, Histogram]],
) -> tuple[Moments, Moments, Histogram]:
    """Add up what was collected."""
    return reduce(lambda one, other: tuple(map(add, one, other)), parts)
