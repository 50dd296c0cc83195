"""What there is to draw of data, in order and all of it numbers, and what of that is shown."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from skviz.errors import SkvizError

T = TypeVar("T")


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


def held(ds: xr.Dataset, **asked: Iterable[Any]) -> None:
    """Refuse scales, units or targets that a study does not hold, with `SkvizError`."""
    missing = [
        f"{name} {value:g}" if name == "scale" else f"{name} {value!r}"
        for name, values in asked.items()
        for value in values
        if value not in ds[name].values
    ]
    if missing:
        other = "target" if "target" in ds.dims else "unit"
        raise SkvizError(
            f"the study holds no {', '.join(missing)}; its scales are "
            f"{ds['scale'].values.tolist()}, its {other}s {ds[other].values.tolist()}"
        )


def chosen(
    ds: xr.Dataset, units: Sequence[str] | None, ax: Axes | None, count: int = 3
) -> list[str]:
    """Return the units that are shown: some spread over the depth, or in one axes one of them.

    Raises
    ------
    SkvizError
        If the study lacks one, or one axes shall show several.
    """
    every = [str(name) for name in ds["unit"].values]
    found = list(units or (spread(every, count) if ax is None else [every[len(every) // 2]]))
    held(ds, unit=found)
    if ax is not None and len(found) > 1:
        raise SkvizError(f"one axes has room for one unit, not for {found}; leave out ax=")
    return found


def example(ds: xr.Dataset, index: int) -> tuple[xr.DataArray, int]:
    """Return a scene that was kept, (scale, y, x, rgb), and the place of its image.

    Raises
    ------
    SkvizError
        If there are fewer or none, or its image is no longer among the data.
    """
    if "thumbnail" not in ds:
        raise SkvizError("the data hold no pictures of the scenes, which this figure shows")
    pictures = ds["thumbnail"]
    if not -pictures.sizes["example"] <= index < pictures.sizes["example"]:
        raise SkvizError(f"{pictures.sizes['example']} scenes were kept as pictures, not {index}")
    index %= pictures.sizes["example"]
    image = index
    if "example" in ds.coords:  # the picture's image, by its name
        name = str(ds["example"].values[index])
        places = np.flatnonzero(ds["image"].values == name)
        if not len(places):
            raise SkvizError(f"example {index} shows {name!r}, which the data no longer hold")
        image = int(places[0])
    return pictures.isel(example=index), image


def apart(values: Sequence[float], count: int) -> list[float]:
    """Choose from increasing values such that at most `count` fit beside each other."""
    least = (values[-1] - values[0]) / (count - 0.5)
    kept = [values[0]]
    for value in values[1:]:
        if value - kept[-1] >= least:
            kept.append(value)
    return kept


def spread(names: Sequence[T], count: int) -> list[T]:
    """Choose evenly from first to last."""
    most = min(count, len(names))
    return [names[round(i * (len(names) - 1) / max(most - 1, 1))] for i in range(most)]
