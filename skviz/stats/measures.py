"""What a sweep says, in numbers with intervals.

Everything here takes the Dataset that `skviz.sweep` makes and gives labelled
arrays. Intervals are over images, the unit that was sampled, or over clusters of them.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import scipy
import xarray as xr

from skviz.errors import SkvizError, entrance
from skviz.stats.intervals import clusters, estimate

Values = TypeVar("Values", xr.Dataset, xr.DataArray)

MARGIN, PART = 0.02, 0.25  # what is called the same: within the smaller of it and this part
LEVEL = 0.05  # of tests


def there(values: Values, study: xr.Dataset) -> Values:
    """Return the images of `values`, which are those of a study, that were not skipped."""
    return values.isel(image=(study["problem"] == "").values) if "problem" in study else values


def kernels(ds: xr.Dataset) -> xr.DataArray:
    """Return the effective kernels, (unit, branch), or raise `SkvizError` if some are unknown."""
    sizes = ds["kernel"]
    others = [dim for dim in ds["weight"].dims if dim not in sizes.dims]
    unknown = (sizes.isnull() & ds["weight"].notnull().any(others)).any("branch")
    if bool(unknown.any()):
        nameless = [str(name) for name in sizes["unit"].values[unknown.values]]
        raise SkvizError(f"the kernels of {nameless} are unknown; compare branches instead")
    return sizes


@entrance
def attention_difference(ds: xr.Dataset) -> xr.DataArray:
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
        If a unit's kernels are unknown, or its largest or smallest is that of several branches.

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> difference = skviz.attention_difference(ds).sel(unit="stage2.1.sk").mean("image")
    >>> bool(difference[1] > difference[0])  # the object grew
    True
    """
    sizes, weight = kernels(ds), ds["weight"].drop_vars("kernel", errors="ignore")
    difference = weight.isel(branch=largest(sizes)) - weight.isel(branch=largest(-sizes))
    return difference.transpose("image", "scale", "unit").rename("attention difference")


def largest(sizes: xr.DataArray) -> xr.DataArray:
    """Return which branch of each unit has the largest kernel, of its kernels (…, branch).

    Of negative sizes it is the smallest.

    Raises
    ------
    SkvizError
        If several branches of a unit have it, or all kernels are unknown.
    """
    ranked = sizes.fillna(-np.inf)
    several = (ranked == ranked.max("branch")).sum("branch") > 1
    if bool(several.any()):
        units = np.atleast_1d(sizes["unit"].values)[np.atleast_1d(several.values)]
        raise SkvizError(
            f"of the branches of {[str(unit) for unit in units]} several have the largest kernel, "
            "or the smallest; compare branches instead"
        )
    return ranked.argmax("branch")


@entrance
def expected_kernel(ds: xr.Dataset) -> xr.DataArray:
    """Σ weight · kernel, (image, scale, unit), in pixels of the unit's feature map.

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> found = skviz.expected_kernel(ds)
    >>> bool(((found > 3) & (found < 5)).all())
    True
    """
    return (ds["weight"] * kernels(ds)).sum("branch", min_count=1).rename("expected kernel")


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


def paired(
    change: xr.DataArray,
    *,
    cluster: str | Sequence[Any] | np.ndarray | None = None,
) -> xr.Dataset:
    """Say how large a paired change is, how sure, and whether it could be chance.

    Parameters
    ----------
    change
        One value per image; any other dimensions. An image that is NaN throughout does not count.
    cluster
        As `interval` takes it; p values compare the means of clusters.

    Returns
    -------
    xarray.Dataset
        Without the dimension image: what `estimate` gives, ``share`` (fraction of images above 0),
        ``d_z`` (mean ÷ standard deviation, Cohen's), ``p`` (Wilcoxon's signed-rank test against
        0, two-sided) and ``p_holm`` (Holm's correction over units).
    """
    labels = clusters(change, "image", cluster)
    found = estimate(change, cluster=labels)
    means = cluster_means(change, labels)
    # Without any change there is nothing to rank, and nothing to be surprised at.
    still = (means == 0).all("image")
    ranked = scipy.stats.wilcoxon(means.where(~still, 1).values, axis=0).pvalue
    like = found["estimate"]
    found = found.assign(
        share=(change > 0).where(change.notnull()).mean("image"),
        d_z=(change.mean("image") / change.std("image", ddof=1)).where(~still, 0),
        p=like.copy(data=ranked).where(~still, 1.0),
    )
    return found.assign(p_holm=corrected(found["p"]))


def cluster_means(change: xr.DataArray, labels: Sequence[Any] | np.ndarray) -> xr.DataArray:
    """Return the mean of each cluster, along ``image``, first of the dimensions."""
    change = change.transpose("image", ...).assign_coords(_cluster=("image", np.asarray(labels)))
    change = change.dropna("image", how="all")
    names, members = np.unique(change["_cluster"].values, return_inverse=True)
    total = np.zeros((len(names), *change.shape[1:]))
    np.add.at(total, members, change.values)
    counts = np.bincount(members).reshape(-1, *[1] * (change.ndim - 1))
    return xr.DataArray(total / counts, dims=change.dims)


def corrected(p: xr.DataArray) -> xr.DataArray:
    """Correct p values over units, if they are of several."""
    if "unit" not in p.dims:
        return p
    core = [["unit"]]
    found: xr.DataArray = xr.apply_ufunc(holm, p, input_core_dims=core, output_core_dims=core)
    return found.transpose(*p.dims)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values along the last axis (Holm, Scand. J. Statist. 6, 1979)."""
    order = np.argsort(p, axis=-1)
    count = p.shape[-1]
    scaled = np.take_along_axis(p, order, -1) * (count - np.arange(count))
    corrected = np.minimum(np.maximum.accumulate(scaled, axis=-1), 1)
    back = np.argsort(order, axis=-1)
    return np.take_along_axis(corrected, back, -1)


@entrance
def shift(ds: xr.Dataset, *, cluster: str | Sequence[Any] | np.ndarray | None = None) -> xr.Dataset:
    """Measure how far each unit's selection moves from the smallest to the largest scale.

    Parameters
    ----------
    ds
        A sweep over at least two scales.
    cluster
        As `interval` takes it.

    Returns
    -------
    xarray.Dataset
        Per unit what `paired` says of the change of the attention difference.

    Raises
    ------
    SkvizError
        If there is only one scale, or a unit's kernels are unknown.

    Examples
    --------
    >>> import skviz
    >>> scenes = skviz.place(skviz.objects(category="bus"), seed=1)
    >>> ds = skviz.sweep(skviz.load("objects"), scenes, scales=[0.5, 2.0], progress=False)
    >>> found = skviz.shift(ds).sel(unit="stage2.1.sk")
    >>> bool(found["low"] < found["estimate"] < found["high"])
    True
    """
    return paired(ends(attention_difference(ds)), cluster=cluster)


def ends(values: xr.DataArray) -> xr.DataArray:
    """Change from the first scale to the last, or `SkvizError` if there is only one."""
    if values.sizes["scale"] < 2:
        raise SkvizError("a shift needs at least two scales; sweep over more")
    return values.isel(scale=-1, drop=True) - values.isel(scale=0, drop=True)


@entrance
def compare(
    ds: xr.Dataset, *, cluster: str | Sequence[Any] | np.ndarray | None = None
) -> xr.Dataset:
    """Test a claim against its controls, image by image.

    Two tests of the *excess*, the claim's shift minus the control's. Wilcoxon's asks whether it is
    0. The other way round, two one-sided t tests (TOST; Schuirmann 1987) ask whether it lies within
    a margin that is fixed beforehand: the smaller of 0.02 and a quarter of the claim's shift. Only
    that can say that two are the same; that no difference was found cannot.

    Parameters
    ----------
    ds
        From `skviz.controls`.
    cluster
        As `interval` takes it.

    Returns
    -------
    xarray.Dataset
        (control, unit): what `paired` says of each control's own shift, and as ``excess``,
        ``excess_low``, … of the excess; ``margin`` (unit) and ``p_same``, the p value of the
        second test. All p values named ``…_holm`` are corrected over units. ``verdict`` is
        ``"same"`` (p_same_holm below 0.05), else ``"differs"`` (excess_p_holm below 0.05), else
        ``"undecided"``; for the claim itself ``"claim"``.
    """
    labels = clusters(ds["shift"], "image", cluster)
    own = paired(ds["shift"], cluster=labels)
    excess = ds["shift"].isel(control=0, drop=True) - ds["shift"]
    paired_excess = paired(excess, cluster=labels)
    claimed, means = own["estimate"].isel(control=0, drop=True), cluster_means(excess, labels)
    found = judged(paired_excess, means, claimed, same="same", apart="differs")
    renamed = {name: f"excess_{name}" for name in paired_excess.data_vars}
    found = own.merge(found.rename(renamed).rename(excess_estimate="excess"))
    first = xr.DataArray(np.arange(found.sizes["control"]) == 0, dims="control")
    found["verdict"] = xr.where(first, "claim", found["verdict"])
    return found.assign_attrs(own.attrs).transpose("control", ...)


def judged(
    found: xr.Dataset, means: xr.DataArray, whole: xr.DataArray, *, same: str, apart: str
) -> xr.Dataset:
    """Give the verdict on what `paired` says of means (image, …), of a part of something whole."""
    margin = (PART * abs(whole)).clip(max=MARGIN)
    p_same = tost(means, margin, found["estimate"])
    corrected_same = corrected(p_same)
    verdict = xr.where(found["p_holm"] < LEVEL, apart, "undecided")
    verdict = xr.where(corrected_same < LEVEL, same, verdict)
    return found.assign(margin=margin, p_same=p_same, p_same_holm=corrected_same, verdict=verdict)


def tost(means: xr.DataArray, margin: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Return the p values of two one-sided t tests: means (image, …) lie within ± margin."""
    means = means.transpose("image", ...)
    bounds = margin.broadcast_like(like).transpose(*like.dims).values
    count, middle = means.sizes["image"], means.mean("image").values
    error = means.std("image", ddof=1).values / np.sqrt(count)
    distance = bounds - np.abs(middle)  # to the nearer end
    with np.errstate(divide="ignore", invalid="ignore"):
        student = np.where(error > 0, distance / error, np.sign(distance) * np.inf)
    return like.copy(data=scipy.stats.t.sf(student, count - 1))
