"""The branches of one unit, channel by channel."""

import xarray as xr

from skviz.errors import SkvizError, entrance


@entrance
def channels(ds: xr.Dataset, unit: str) -> xr.DataArray:
    """Return the weights of one unit channel by channel.

    Parameters
    ----------
    ds
        A sweep that kept them.
    unit
        Its name.

    Returns
    -------
    xarray.DataArray
        ``weight`` (image, scale, branch, channel), of the branches and channels that the unit has.

    Raises
    ------
    SkvizError
        If the sweep has no such unit, or did not keep its channels.
    """
    if unit not in ds["unit"].values:
        names = [str(name) for name in ds["unit"].values]
        raise SkvizError(f"the sweep holds no unit {unit!r}; its units are {names}")
    if "channel_weight" not in ds:
        raise SkvizError(
            f"the sweep kept no channels of {unit!r}: give sweep(channels=True), and its result "
            "as it is"
        )
    mine = (ds["unit_of"] == unit).values
    weight = ds["channel_weight"].isel(channel=mine).dropna("branch", how="all")
    kernel = ds["kernel"].sel(unit=unit)[: weight.sizes["branch"]]
    return weight.drop_vars(["unit_of", "index"]).rename("weight").assign_coords(kernel=kernel)
