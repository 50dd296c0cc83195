"""What moves the weights: measured for every training of `caltech` and `objects`, kept as numbers.

``python -m recipes photographs --photographs FOLDER --nets FOLDER`` measures (25 minutes of one
core), keeps every number in `docs/photographs.json` with the sha256 of the weights that it is of,
and writes from that file alone what README and the card of `caltech` say. Of the weights themselves
only one training each is kept in the repository.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from PIL import Image

import skviz
from recipes.caltech import CATEGORIES, cut_outs, files
from recipes.findings import photographed, short
from skviz import stats
from skviz.scenes import cutouts
from skviz.studies.setting import category_index
from skviz.studies.swaps import fitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from skviz.scenes.source import Scenes

__all__ = ["KEPT", "as_dataset", "kept", "measure"]

KEPT = Path(__file__).parents[1] / "docs" / "photographs.json"
NETWORKS = {
    "caltech": ("caltech", "caltech-seed1", "caltech-seed2"),
    "caltech-twin": ("caltech-twin", "caltech-twin-seed1", "caltech-twin-seed2"),
    "caltech-fixed": ("caltech-fixed",),
    "objects": ("objects", "objects-seed1", "objects-seed2"),
    "objects-twin": ("objects-twin", "objects-twin-seed1"),
}
LAST_MINUS_FIRST = (1, 0)  # of a twin's branches the "larger" is the second, as of the others
ZOOMED, JUDGED, BATCH = 300, 300, 50
ZOOMS = (1.0, 1.25, 1.5, 2.0)
ALIKE, SIDE = 0.98, 16  # correlation of two grey pictures of so many pixels a side, from which on
SAID = ("method", "confidence", "images", "clusters", "impossible")
SIZES = {"zoom": (1.0, 2.0), "rescale": (0.5, 1.0)}


def networks(folder: Path) -> dict[str, dict[str, nn.Module]]:
    """Load all trainings; what is not in the folder is the shipped one."""

    def one(name: str) -> nn.Module:
        path = folder / f"{name}.safetensors"
        return skviz.load(path if path.is_file() else name)

    return {group: {name: one(name) for name in names} for group, names in NETWORKS.items()}


def measure(root: Path, folder: Path, out: Path, echo: Callable[[str], None] = print) -> None:
    """Measure everything; what is kept already is left as it is."""
    nets = networks(folder)
    found = json.loads(out.read_text()) if out.is_file() else {}
    listed = files(root, test=True)
    order = np.random.default_rng(0).permutation(len(listed))
    paths = {"/".join(path.parts[-2:]): path for path, _ in listed}
    every = skviz.photographs(paths, category=[CATEGORIES[label] for _, label in listed])
    large = [int(i) for i in order if shortest(listed[i][0]) >= 2 * 96]
    drawn = skviz.objects(family=cutouts.HELD_OUT_FAMILIES)
    cut = cut_outs([path for path, _ in listed])
    shown = {
        "zoomed photographs": every.zoom()[large[:ZOOMED]],
        "cut-out photographs": skviz.place(cut),
        "drawings": skviz.place(drawn),
        "drawings, photographed backgrounds": skviz.place(
            drawn, backgrounds=photographed(len(drawn), 0)
        ),
    }
    found["shown"] = {"test photographs": len(listed), "short side at least 192": len(large)} | {
        name: {"images": len(each), "categories": len(set(each.category))}
        for name, each in shown.items()
    }
    found["networks"] = {
        name: sha256(folder / f"{name}.safetensors")
        for group in NETWORKS.values()
        for name in group
    }

    def keep(part: str, name: str, make: Callable[[], Any]) -> None:
        if name not in found.setdefault(part, {}):
            echo(f"{part}: {name}")
            found[part][name] = make()
            out.write_text(as_json(found))

    for name, scenes in shown.items():
        kind = "objects" if "drawings" in name else "caltech"
        for group in nets.keys() & {kind, f"{kind}-twin"}:
            keep("factors", f"{group}, {name}", partial(factors, nets[group], scenes))
    keep("card", "zooms", partial(zooms, nets["caltech"]["caltech"], every.zoom()))
    trained = [path for path, _ in files(root, test=False)]
    keep("card", "alike", partial(alike, list(paths.values()), trained))
    photos = every.zoom()
    few = photos[[int(i) for i in order[:JUDGED]]]
    small = skviz.place(drawn)[np.random.default_rng(0).permutation(len(drawn)).tolist()]
    for group, each in nets.items():
        scenes = small if "objects" in group else few
        scales = (0.5, 1.0, 2.0) if "objects" in group else (1.0, 2.0)
        read_of = (small, scales) if "objects" in group else (photos, (1.0,))
        for name, network in each.items():
            keep("readings", name, partial(read, network, *read_of))
            keep("selection", name, partial(replaced, network, scenes, scales))


def shortest(path: Path) -> int:
    """Return the shorter side of a picture, in pixels."""
    with Image.open(path) as picture:
        return min(picture.size)


def sha256(path: Path) -> str:
    """Return the hash of a file, or of the shipped network of its name."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    from skviz.assets import manifest

    return manifest()[f"models/{path.name}"]


def table(ds: xr.Dataset) -> dict[str, Any]:
    """Keep a table as JSON can hold it; what is missing is null."""
    plain = ds.reset_coords(drop=True)

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return [cell(each) for each in value]
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return {
        "dims": {str(k): [str(v) for v in plain[k].values] for k in plain.dims},
        "variables": {
            str(name): {"dims": list(map(str, v.dims)), "values": cell(v.values.tolist())}
            for name, v in plain.data_vars.items()
        },
        "attrs": {name: ds.attrs[name] for name in SAID if name in ds.attrs},
    }


def as_dataset(found: dict[str, Any]) -> xr.Dataset:
    """Return a table as it was before `table` kept it."""
    made = {
        name: (each["dims"], np.array(each["values"], None if name == "verdict" else float))
        for name, each in found["variables"].items()
    }
    return xr.Dataset(made, found["dims"], found["attrs"])


def kept(part: str, name: str) -> Any:
    """Return what was kept, tables as Datasets."""

    def back(value: Any) -> Any:
        if isinstance(value, dict) and "variables" in value:
            return as_dataset(value)
        return {k: back(v) for k, v in value.items()} if isinstance(value, dict) else value

    return back(json.loads(KEPT.read_text())[part][name])


def as_json(found: dict[str, Any]) -> str:
    """Write six digits, every entry on a line of its own."""

    def line(value: Any) -> str:
        return json.dumps(short(value), ensure_ascii=False)

    parts = []
    for part, entries in found.items():
        lines = [f"  {line(name)}: {line(entry)}" for name, entry in entries.items()]
        parts.append(f" {line(part)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def factors(nets: Mapping[str, nn.Module], scenes: Scenes) -> dict[str, Any]:
    """Run the factorial experiment on all trainings of a recipe."""
    ds = skviz.factorial(
        nets, scenes, sizes=SIZES[scenes.protocol], branches=LAST_MINUS_FIRST, progress=False
    )
    found = stats.main_effects(ds)
    kept = ["estimate", "low", "high", "verdict", "margin", "growth", "growth_low", "growth_high"]
    kept += [name for name in ("added", "contribution", "share_of_growth") if name in found]
    return {"each": table(found[kept]), "trainings": table(stats.over_networks(found))}


def read(network: nn.Module, scenes: Scenes, scales: tuple[float, ...] = (1.0,)) -> dict[str, Any]:
    """Explain the weights by properties of the pictures; and say how good the network is."""
    ds = skviz.readings(network, scenes, scales=scales, progress=False)
    first, second = (ds["weight"].isel(branch=i).drop_vars("kernel") for i in LAST_MINUS_FIRST)
    right, sure = ds["correct"].values.astype(float), ds["probability"].values.astype(float)
    by_class = ds["correct"].groupby("category").mean().mean("category")
    made: dict[str, Any] = {
        "accuracy": right.mean(0).tolist(),
        "balanced accuracy": by_class.values.tolist(),
        "confidence": sure.mean(0).tolist(),
        "calibration error": calibration_error(right.ravel(), sure.ravel()),
    }
    values = first - second
    if float(values.std()) > 1e-6:  # a selection that is fixed has nothing to explain
        made["explained"] = table(stats.explained(ds, values))
        made["deviation"] = values.std(("image", "scale")).values.tolist()
    return made


def zooms(network: nn.Module, photos: Scenes) -> dict[str, list[float]]:
    """Judge the network on all test photographs at each zoom."""
    ds = skviz.sweep(network, photos, scales=ZOOMS, progress=False)
    by_class = ds["correct"].groupby("category").mean().mean("category")
    sure = ds["probability"].values.astype(float)
    right = ds["correct"].values.astype(float)
    columns = range(len(ZOOMS))
    return {
        "zoom": list(ZOOMS),
        "accuracy": right.mean(0).tolist(),
        "balanced accuracy": by_class.values.tolist(),
        "confidence": sure.mean(0).tolist(),
        "calibration error": [calibration_error(right[:, i], sure[:, i]) for i in columns],
    }


def alike(tested: list[Path], trained: list[Path]) -> dict[str, int]:
    """Count the test photographs that are nearly one of the training photographs."""

    def small(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            grey = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
        values = np.asarray(grey, float).ravel()
        values -= values.mean()
        return values / max(float(np.linalg.norm(values)), 1e-9)

    ours, theirs = (np.stack([small(path) for path in paths]) for paths in (tested, trained))
    return {"test": len(ours), "near": int(((ours @ theirs.T).max(1) > ALIKE).sum())}


def calibration_error(right: np.ndarray, sure: np.ndarray, bins: int = 15) -> float:
    """Mean distance of confidence from accuracy, in bins of as many images each."""
    parts = np.array_split(np.argsort(sure), bins)
    return float(sum(len(p) * abs(right[p].mean() - sure[p].mean()) for p in parts) / len(sure))


def changes(mean: Tensor) -> dict[str, Any]:
    """Name what a unit's weights (image, branch, channel) can be replaced by; `mean` is (1, …)."""
    return {
        "mean of all images": mean,
        "another image's": lambda own: own.roll(1, 0),
        "own pattern, another's mean": lambda own: fitted(own, own.roll(1, 0)),
        "another's pattern, own mean": lambda own: fitted(own.roll(1, 0), own),
        "equal": "uniform",
    }


def replaced(network: nn.Module, scenes: Scenes, scales: tuple[float, ...]) -> dict[str, Any]:
    """Accuracy at each scale with the weights of all units replaced, and what that costs, paired.

    The mean is that of these images over all scales; the other image is the one before it in a
    batch, at the same scale.
    """
    ready = scenes.ready("cpu", list(scales))
    truth = category_index(network, scenes)
    if truth is None:
        raise skviz.SkvizError("the network does not know these categories")
    batches = [
        (i, scale, ready.render(scale)[i : i + BATCH])
        for scale in scales
        for i in range(0, len(scenes), BATCH)
    ]
    units = skviz.find_units(network, batches[0][2])
    sums: dict[str, Tensor] = {}
    correct: dict[str, list[Tensor]] = {}
    with torch.inference_mode():
        for i, _, images in batches:
            with skviz.record(network, units) as recording:
                logits = network(images)
            for unit, weights in zip(units, recording.weights.values(), strict=True):
                total = weights.sum(0, keepdim=True)
                sums[unit.name] = sums.get(unit.name, torch.zeros_like(total)) + total
            correct.setdefault("own", []).append(logits.argmax(1) == truth[i : i + BATCH])
        count = len(scenes) * len(scales)
        each = {name: changes(total / count) for name, total in sums.items()}
        for what in next(iter(each.values())):
            plan = {name: options[what] for name, options in each.items()}
            for i, _, images in batches:
                with skviz.intervene(network, plan, units=units):
                    correct.setdefault(what, []).append(
                        network(images).argmax(1) == truth[i : i + BATCH]
                    )
    right = torch.stack([torch.cat(parts).reshape(len(scales), -1) for parts in correct.values()])
    array = xr.DataArray(
        right.double().numpy(),
        dims=("weights", "scale", "image"),
        coords={"weights": list(correct), "scale": list(scales)},
    )
    lost = array.sel(weights="own", drop=True) - array
    made = stats.estimate(array, cluster=scenes.category)
    bounds = stats.estimate(lost, cluster=scenes.category)
    return table(
        made.assign(lost=bounds["estimate"], lost_low=bounds["low"], lost_high=bounds["high"])
    )
