"""What a factorial experiment says: main effects and shares, over images and networks."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import scipy
import xarray as xr

from skviz.errors import SkvizError
from skviz.stats.intervals import clusters, estimate
from skviz.stats.measures import cluster_means, corrected, judged, paired, there

# Factors, and whether their effect is that of a doubling.
EFFECTS = {"size": True, "coverage": True, "blur": True, "background": True, "position": False}
WORDS = {"same": "none", "apart": "moves"}  # of effects
GROWN = ("size", "coverage")  # what changes as one object grows


def main_effects(
    ds: xr.Dataset, *, cluster: str | Sequence[Any] | np.ndarray | None = "category"
) -> xr.Dataset:
    """Separate the factors of an experiment, image by image.

    For every image the attention difference in all cells is fitted by least squares: a level, the
    factors that change, and their products two by two, each less its mean over the cells. Size,
    coverage (as it was measured), blur and background count in doublings, so that the effect of
    size is that at constant coverage, and the reverse.

    Parameters
    ----------
    ds
        From `skviz.factorial`.
    cluster
        As `interval` takes it.

    Returns
    -------
    xarray.Dataset
        (network, term, unit): what `paired` says of each term; ``margin``, ``p_same``,
        ``p_same_holm`` and ``verdict`` as `compare` has them, of an effect against none (``none``,
        ``moves``, ``undecided``): the margin is the smaller of 0.02 and a quarter of ``growth``.
        (network, unit): ``growth``, the whole change when a single object grows from the smallest
        to the largest size, ``growth_low``, ``growth_high``; ``added``, what size and coverage
        contribute to it by their main effects together; (network, part, unit) ``contribution`` of
        each with its interval, and ``share_of_growth``, only where 0 lies outside the
        whole's interval and `added` inside: NaN elsewhere.

    Raises
    ------
    SkvizError
        If nothing changes between the cells, or they cannot tell the factors apart.
    """
    ds = there(ds, ds)
    names, columns = factors(ds)
    wide = columns - columns.mean(1, keepdims=True)  # (image, cell, factor)
    pairs = list(combinations(range(len(names)), 2))
    products = [wide[:, :, a] * wide[:, :, b] for a, b in pairs]
    terms = [*names, *(f"{names[a]} × {names[b]}" for a, b in pairs)]
    design = np.stack([np.ones_like(wide[..., 0]), *np.moveaxis(wide, 2, 0), *products], 2)
    if (np.linalg.matrix_rank(design) < design.shape[2]).any():
        raise SkvizError(f"the cells cannot tell {', '.join(terms)} apart; cross more levels")
    values = ds["attention_difference"].transpose("network", "image", "cell", "unit")
    fit = np.einsum("itc,nicu->nitu", np.linalg.pinv(design), values.values)[:, :, 1:]
    labels = clusters(values, "image", cluster)
    each = xr.DataArray(
        fit,
        dims=("network", "image", "term", "unit"),
        coords={k: values[k] for k in ("network", "image", "unit")} | {"term": terms},
    )
    growth, change = grown(ds, names, columns)
    whole = estimate(growth, cluster=labels)
    found = paired(each, cluster=labels)
    found = judged(found, cluster_means(each, labels), whole["estimate"], **WORDS).assign(
        growth=whole["estimate"], growth_low=whole["low"], growth_high=whole["high"]
    )
    said = {"function": "main_effects", "cluster": told(cluster)}
    found.attrs = ds.attrs | found.attrs | {"statistic": said}
    if not set(GROWN) <= set(names):
        return found
    parts = each.sel(term=list(GROWN)).rename(term="part") * change
    bounds = estimate(parts, cluster=labels)
    added = bounds["estimate"].sum("part")
    inside = (added >= found["growth_low"]) & (added <= found["growth_high"])
    moved = found["growth_low"] * found["growth_high"] > 0
    return found.assign(
        added=added,
        contribution=bounds["estimate"],
        contribution_low=bounds["low"],
        contribution_high=bounds["high"],
        share_of_growth=(bounds["estimate"] / found["growth"]).where(inside & moved),
    )


def told(cluster: Any) -> Any:
    """Say what images were grouped by, as JSON can hold it."""
    return cluster if cluster is None or isinstance(cluster, str) else list(map(str, cluster))


def factors(ds: xr.Dataset) -> tuple[list[str], np.ndarray]:
    """Name the factors that change, and give what each is in every image and cell."""
    size = (ds.sizes["image"], ds.sizes["cell"])
    held = {name: np.broadcast_to(ds[name].values, size) for name in ("size", "blur", "background")}
    if len(np.unique(ds["copies"])) > 1:
        held["coverage"] = ds["coverage"].transpose("image", "cell").values
    columns = {name: np.log2(held[name]) for name in EFFECTS if name in held}
    columns["position"] = np.broadcast_to(ds["scattered"].values.astype(float), size)
    names = [name for name, values in columns.items() if np.ptp(values, 1).max() > 0]
    if not names:
        raise SkvizError("nothing changes between these cells; give a factor several levels")
    return names, np.stack([columns[name] for name in names], 2)


def grown(
    ds: xr.Dataset, names: list[str], columns: np.ndarray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Return how far a single object moves the weights as it grows, and how far it grows.

    (network, image, unit), over all else; and in doublings (image, part).
    """
    single = ds["copies"].values == ds["copies"].values.min()
    size = ds["size"].values
    values = ds["attention_difference"]
    large, small = (single & (size == end) for end in (size.max(), size.min()))
    growth = values.isel(cell=large).mean("cell") - values.isel(cell=small).mean("cell")
    parts = [name for name in GROWN if name in names]
    logs = columns[:, :, [names.index(name) for name in parts]]
    change = logs[:, large].mean(1) - logs[:, small].mean(1)
    return growth, xr.DataArray(change, dims=("image", "part"), coords={"part": parts})


def over_networks(found: xr.Dataset, *, confidence: float = 0.95) -> xr.Dataset:
    """Say what holds of trainings, not of one network: the networks are the sample.

    Student's t over the networks' estimates, which hold the noise of the images already; with few
    networks its intervals are wide, as they must be.

    Parameters
    ----------
    found
        From `main_effects`, of at least two networks that are trainings of one recipe.
    confidence
        Of the intervals.

    Returns
    -------
    xarray.Dataset
        (term, unit): ``estimate``, ``low``, ``high``, ``p``, ``p_holm``, ``margin`` (of the mean
        growth), ``p_same``, ``p_same_holm`` and ``verdict``.

    Raises
    ------
    SkvizError
        If there is one network only.
    """
    values = found["estimate"].transpose("network", ...)
    if values.sizes["network"] < 2:
        raise SkvizError("one network says nothing about trainings; give several")
    mean = values.mean("network")
    test = scipy.stats.ttest_1samp(values.values, 0, axis=0)
    low, high = test.confidence_interval(confidence)
    p = mean.copy(data=test.pvalue)
    made = xr.Dataset(
        {"estimate": mean, "low": mean.copy(data=low), "high": mean.copy(data=high), "p": p}
    ).assign(p_holm=corrected(p))
    growth, sample = found["growth"].mean("network"), values.rename(network="image")
    count = values.sizes["network"]
    how = f"mean and {100 * confidence:g} % interval (Student's t) over {count} networks"
    return judged(made, sample, growth, **WORDS).assign_attrs(method=how)
