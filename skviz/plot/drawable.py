"""What there is to draw of data: without what was skipped, in order, and all of it numbers."""

from typing import Any

import numpy as np
import xarray as xr

from skviz.errors import SkvizError


def measured(ds: xr.Dataset) -> Any:
    """Return what there is to draw: without images that were skipped, scales increasing.

    Raises
    ------
    SkvizError
        If nothing is left, or a unit has weights that are not numbers.
    """
    if "problem" in ds:  # why an image was skipped
        kept = (ds["problem"] == "").values
        if "example" in ds.coords:  # the pictures of some of them
            skipped = ds["image"].values[~kept]
            ds = along(ds, example=~np.isin(ds["example"].values, skipped))
        ds = along(ds, image=kept)
    if "scale" in ds.dims and not ds.indexes["scale"].is_monotonic_increasing:
        ds = along(ds, scale=np.argsort(ds["scale"].values))
    check(ds)
    return ds


def along(ds: xr.Dataset, **which: np.ndarray) -> xr.Dataset:
    """Choose along dimensions that the data do not have to have."""
    return ds.isel(which, missing_dims="ignore")


def check(ds: xr.Dataset) -> None:
    """Refuse a sweep that is empty, or has weights that are not numbers, with `SkvizError`."""
    empty = [str(name) for name, size in ds.sizes.items() if size == 0 and name != "example"]
    if empty:
        raise SkvizError(f"nothing to draw: the data have no {', '.join(empty)}")
    if {"weight", "kernel"} <= set(ds.variables):
        # A branch that a unit does not have is NaN throughout; part of one cannot be.
        missing = ds["weight"].isnull()  # (image, scale, unit, branch)
        some = missing.any(("image", "scale"))
        broken = (some & ~missing.all(("image", "scale"))).any("branch") | some.all("branch")
        if bool(broken.any()):
            raise SkvizError(
                f"unit {str(ds['unit'].values[broken.values][0])!r} has weights that are NaN; "
                "sweep again, or leave out those images or scales (ds.sel, ds.dropna)"
            )
