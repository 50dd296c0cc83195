"""How much of the differences between pictures their measured properties explain."""

from typing import Any

import numpy as np
import xarray as xr

from skviz.errors import SkvizError
from skviz.stats.intervals import estimate
from skviz.stats.measures import attention_difference, there

FOLDS = 10
RIDGE = 1.0  # images that a category's own level is held back by
TOGETHER = "all"
CATEGORY = "category"


def explained(ds: xr.Dataset, values: xr.DataArray | None = None, *, seed: int = 0) -> xr.Dataset:
    """Explain the attention difference by what was measured of the pictures: cross-validated R².

    Each property enters standardised and squared; the category as a level of its own for each, held
    back as by one image without any. Least squares on nine tenths of the images predict the last,
    ten times; scenes of one name stay together. R² compares the squared errors with those of the
    mean of the nine tenths, so that it is negative where a property predicts worse than nothing.

    Parameters
    ----------
    ds
        From `skviz.readings`.
    values
        What is to be explained, (image, scale, …), such as the weights of some channels; by default
        the attention difference of every unit.
    seed
        Of the division into tenths.

    Returns
    -------
    xarray.Dataset
        (predictor, unit) ``estimate``, ``low`` and ``high`` of R²: of each property alone, of the
        category alone, and of ``all`` together; ``unique``, ``unique_low`` and ``unique_high``:
        what R² loses without it. Intervals are over categories and leave out that the spread of the
        values is itself estimated.

    Raises
    ------
    SkvizError
        If there are fewer than ten images, or nothing varies.
    """
    said = {"function": "explained", "seed": seed}
    said |= {} if values is None else {"values": "given values"}
    values = there(attention_difference(ds) if values is None else values, ds)
    ds = there(ds, ds)
    flat = values.stack(picture_=("image", "scale"), create_index=False)
    picture = ds["picture"].stack(picture_=("image", "scale"), create_index=False)
    y = flat.transpose("picture_", ...).values
    shape, y = y.shape[1:], y.reshape(len(y), -1).astype(float)
    if len(np.unique(flat["image"])) < FOLDS or np.ptp(y, 0).min() == 0:
        raise SkvizError("explaining needs at least ten images, and values that differ")
    blocks = predictors(picture, flat)
    folds = divided(flat["image"].values, seed)
    whole = gain(y, blocks.values(), folds)
    alone = [gain(y, [block], folds) for block in blocks.values()]
    without = [
        whole - gain(y, [b for other, b in blocks.items() if other != name], folds)
        for name in blocks
    ]
    clusters = flat["category"].values
    like = flat.transpose("picture_", ...).isel(picture_=0, drop=True)
    r2, unique = (
        bounds(parts, list(names), shape, like, clusters)
        for parts, names in (([*alone, whole], [*blocks, TOGETHER]), (without, blocks))
    )
    return r2.assign(
        unique=unique["estimate"], unique_low=unique["low"], unique_high=unique["high"]
    ).assign_attrs(ds.attrs | r2.attrs | {"statistic": said})


def predictors(picture: xr.DataArray, flat: xr.DataArray) -> dict[str, np.ndarray]:
    """Return the columns (picture, K) that stand for each property, and for the category."""
    made = {}
    for name in picture["property"].values:
        x = picture.sel(property=name).values.astype(float)
        if np.ptp(x) > 0:
            z = (x - x.mean()) / x.std()
            made[str(name)] = np.stack([z, z**2], 1)
    names, members = np.unique(flat["category"].values, return_inverse=True)
    if 1 < len(names) < len(members):
        made[CATEGORY] = np.eye(len(names))[members]
    return made


def divided(images: np.ndarray, seed: int) -> np.ndarray:
    """Give each picture one of the folds; those of one image share theirs."""
    names, members = np.unique(images, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return (order % FOLDS)[members]


def gain(y: np.ndarray, blocks: Any, folds: np.ndarray) -> np.ndarray:
    """By how much each picture's squared error falls, of the mean squared error; its mean is R²."""
    blocks = list(blocks)
    x = np.concatenate(blocks, 1) if blocks else np.zeros((len(y), 0))
    held = np.concatenate([np.full(b.shape[1], RIDGE if b.shape[1] > 2 else 1e-6) for b in blocks])
    error, nothing = np.empty_like(y), np.empty_like(y)
    for fold in range(FOLDS):
        test, train = folds == fold, folds != fold
        middle, mean = x[train].mean(0), y[train].mean(0)
        centred = x[train] - middle
        inner = centred.T @ centred + np.diag(held)
        slope = np.linalg.solve(inner, centred.T @ (y[train] - mean))
        error[test] = y[test] - mean - (x[test] - middle) @ slope
        nothing[test] = y[test] - mean
    return (nothing**2 - error**2) / (nothing**2).mean(0)


def bounds(
    parts: list[np.ndarray], names: list[str], shape: tuple[int, ...], like: Any, clusters: Any
) -> xr.Dataset:
    """Return R² with its interval over categories, (predictor, …)."""
    array = np.stack(parts, 1).reshape(len(parts[0]), len(parts), *shape)
    dims = ("image", "predictor", *like.dims)
    coords = {name: like[name] for name in like.dims if name in like.coords}
    table = xr.DataArray(array, dims=dims, coords=coords | {"predictor": names})
    return estimate(table, cluster=clusters)
