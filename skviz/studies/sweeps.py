"""Show a model the same scenes over a grid of scales and keep what its units did.

The result is one `xarray.DataTree`. Its root holds what all units share:

=================  ==========================  =========================================
``weight``         image, scale, unit, branch  branch weight, mean over channels
``spread``         image, scale, unit, branch  its standard deviation over channels
``prediction``     image, scale                index of the predicted class, as a float
``probability``    image, scale                its softmax probability
``correct``        image, scale                1 if it is the category, 0 if not, where both are
                                               known
``kernel``         unit, branch                effective kernel (NaN: no such branch)
``category``       image                       what the object is
``thumbnail``      example, scale, y, x, rgb   the first scenes as they were shown, uint8
=================  ==========================  =========================================

and one node per unit, named like it, holds ``weight`` (image, scale, branch, channel).

In float32 weights depend on the processor, the number of threads and the batch, by some 10⁻⁷ (10⁻⁶
at most was seen); a study is the same byte for byte only where all three are.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr
from torch import nn
from tqdm import tqdm

from skviz.capture import Unit, units_of
from skviz.capture.recording import record
from skviz.errors import SkvizError, UnitError
from skviz.models import device as devices
from skviz.models import zoo
from skviz.scenes.cutouts import Objects, place
from skviz.scenes.layers import Ready
from skviz.scenes.made import images_hash, sha256_of
from skviz.scenes.source import CANVAS, Scenes

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["sweep"]

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
EXAMPLES = 4
SOME = 200  # images whose names are said one by one
PIXELS = 2**17  # of a batch on a CPU: 64 of 32², 8 of 96², 2 of 224²
AHEAD = 2  # batches of scenes that wait, ready, for the model


def sweep(
    model: nn.Module,
    source: Objects | Scenes,
    *,
    scales: Sequence[float] = SCALES,
    units: Sequence[str] | None = None,
    batch: int | None = None,
    device: str = "auto",
    progress: bool = True,
    store: str | os.PathLike[str] | None = None,
    chunk: int = 128,
    channels: bool = False,
    on_error: str = "stop",
    client: "Client | None" = None,
) -> xr.DataTree:
    """Record the branch weights of a model for every scene at every scale.

    Parameters
    ----------
    model
        Any classifier with SK units; it comes back as it was, on the device it was on.
    source
        Scenes (`skviz.place`, `skviz.photographs`), or cut-outs, which are placed on procedural
        backgrounds of the model's canvas (96 pixels if it names none).
    scales
        Increasing; ``1.0`` is the reference.
    units
        Names as `skviz.find_units` gives them; by default all that are not degenerate.
    batch
        Scenes per forward pass. By default 32; on a CPU, which is quickest while what it works on
        fits its caches, as many as have 2¹⁷ pixels together, at most 64.
    device
        See `skviz.models.device.resolve`.
    progress
        Show a progress bar once the sweep has taken two seconds.
    store
        Keep the result in this Zarr store instead of in memory, and go on where a killed sweep
        into it stopped; see `skviz.studies.study`.
    chunk
        With a store: images per task, which is one chunk of every array.
    channels
        With a store: keep the weight of every channel too (float16).
    on_error
        With a store: ``"stop"`` at an image that cannot be read, or ``"skip"`` it and name it in
        the variable ``problem``.
    client
        With a store: a Dask client whose workers do the tasks (`skviz.studies.cluster`).

    Returns
    -------
    xarray.DataTree
        As the module's documentation lists it; provenance in ``attrs``. From a store, read when
        it is used, and with nodes for the units only if `channels` were kept.

    Raises
    ------
    SkvizError
        If the scales are not increasing, or a scale cannot be rendered (`SceneError`), an image
        cannot be read (`DataError`), the store holds another study (`DataError`), or the model has
        no such unit (`UnitError`).
    """
    grid, scenes = checked(scales), as_scenes(model, source)
    if store is None and (on_error != "stop" or client is not None or channels):
        raise SkvizError("on_error, client and channels are for a sweep into a store; give store=")
    where = devices.resolve(device)
    batch = batch_size(scenes, where) if batch is None else batch
    if store is not None:
        from skviz.studies.study import Study, run

        study = Study(
            Path(store), model, scenes, grid, units, batch, chunk, channels, on_error, where
        )
        return run(study, client=client, progress=progress)
    collected = []
    bar = tqdm(total=len(scenes), desc="sweep", unit="image", delay=2, disable=not progress)
    with at_rest(model, where), bar:
        found = choose(model, example(scenes, where, grid), units)
        for measured, _ in measurements(model, cut(scenes, batch), grid, found, where):
            collected.append(measured)
            bar.update(len(measured["prediction"]))
    stacked = {key: np.concatenate([part[key] for part in collected]) for key in collected[0]}
    tree = assemble(stacked, labels(found), scenes, grid, model)
    options = {"units": list(labels(found)), "batch": batch, "device": where.type}
    images = {"images_sha256": images_hash(stacked["content"][:, 0])}
    tree.attrs |= options | images
    return tree


def batch_size(scenes: Scenes, device: torch.device) -> int:
    """Return how many scenes go through a model at once, a power of two."""
    if device.type != "cpu":
        return 32
    fit = PIXELS // scenes.canvas**2
    return 2 ** int(np.log2(np.clip(fit, 1, 64)))


def cut(scenes: Scenes, size: int) -> list[Scenes]:
    """Cut scenes into parts of a size."""
    return [scenes[start : start + size] for start in range(0, len(scenes), size)]


def example(
    scenes: Scenes, device: torch.device, grid: Sequence[float], *, skip: bool = False
) -> torch.Tensor:
    """Render a few scenes for finding units, at the largest scale: the first that can be had."""
    problems: dict[int, str] = {}
    for part in cut(scenes, 3):
        here = part.ready(device, grid, skip=skip)
        if len(here):
            return here.render(grid[-1])
        problems = dict(here.problems)
    raise SkvizError(f"no image can be used; the last one: {problems[max(problems)]}")


def ahead(jobs: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Do the jobs one after the other in a thread, a few before their results are asked for."""
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def measurements(
    model: nn.Module,
    parts: Iterable[Scenes],
    grid: Sequence[float],
    found: Sequence[Unit],
    device: torch.device,
    *,
    blank: dict[str, np.ndarray] | None = None,
) -> Generator[tuple[dict[str, np.ndarray], dict[int, str]]]:
    """Measure part after part, while the scenes of the next are made beside the model.

    Images that cannot be had are skipped if `blank` has a row to put in their place.

    Yields
    ------
    tuple
        What `measure` gives, (image, scale, …), and the problems by place.
    """

    def scenes_of(part: Scenes, scale: float, load: Callable[[], Ready]) -> Any:
        here = load()
        if not len(here):
            return len(part), None, {}, here.problems
        known = {"area": here.areas.float().cpu().numpy(), "content": here.content}
        return len(part), here.render(scale), known, here.problems

    def jobs() -> Iterator[Callable[[], Any]]:
        for part in parts:
            load = cache(partial(part.ready, device, grid, skip=blank is not None))
            for scale in grid:
                yield partial(scenes_of, part, scale, load)

    rows: list[dict[str, np.ndarray]] = []
    for count, images, known, problems in ahead(jobs()):
        row = {} if images is None else measure(model, images, found) | known
        if problems and blank:
            there = [place for place in range(count) if place not in problems]
            row = {key: scattered(row.get(key), there, count, blank[key]) for key in blank}
        rows.append(row)
        if len(rows) == len(grid):
            yield {key: np.stack([row[key] for row in rows], 1) for key in rows[0]}, dict(problems)
            rows = []


def blank_row(measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what stands for an image that cannot be had: NaN, -1, black."""
    nothing = {"f": np.nan, "i": -1, "u": 0}
    row = {key: np.full_like(rows[0], nothing[rows.dtype.kind]) for key, rows in measured.items()}
    return row | {"area": np.array(np.nan, np.float32), "content": np.array(0, np.uint64)}


def scattered(
    values: np.ndarray | None, there: list[int], count: int, blank: np.ndarray
) -> np.ndarray:
    """Put rows where they belong among `count`, and blanks elsewhere."""
    full = np.repeat(blank[None], count, 0)
    if values is not None:
        full[there[: len(values)]] = values
    return full


def checked(scales: Sequence[float]) -> list[float]:
    """Return the scales if they can be a grid, or raise `SkvizError`."""
    grid = [float(scale) for scale in scales]
    if not grid or sorted(set(grid)) != grid:
        raise SkvizError(f"scales must be increasing, at least one, got {list(scales)}")
    return grid


def canvas_of(model: nn.Module) -> int:
    """Return the side of the images that a model wants, in pixels."""
    card = getattr(model, "card", None)
    return card.canvas if card else CANVAS


def as_scenes(model: nn.Module, given: Objects | Scenes) -> Scenes:
    """Place cut-outs on the model's canvas; anything else is scenes already.

    Raises
    ------
    SkvizError
        If it is neither.
    """
    if isinstance(given, Scenes):
        return given
    if not isinstance(given, Objects):
        raise SkvizError(
            "expected scenes (skviz.place, skviz.photographs(…).zoom() or .cut_out()) or cut-outs, "
            f"got {type(given).__name__}"
        )
    return place(given, canvas=canvas_of(model))


def category_index(model: nn.Module, scenes: Scenes) -> torch.Tensor | None:
    """Return the class of each scene's category, (image,), if the model is known to have it."""
    card = getattr(model, "card", None)
    if not card or not set(scenes.category) <= set(card.categories):
        return None
    return torch.tensor([card.categories.index(category) for category in scenes.category])


def probabilities(logits: Any) -> torch.Tensor:
    """Return the softmax of logits (image, class), in float32."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise SkvizError("expected a classifier: a model that gives logits (image, class)")
    return logits.float().softmax(1)


class at_rest:  # noqa: N801 (a context manager that reads like a phrase)
    """Put a model in evaluation mode on a device, and everything back as it was."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model, self.device = model, device

    def __enter__(self) -> None:
        self.training = {module: module.training for module in self.model.modules()}
        first = next(self.model.parameters(), None)
        self.home = first.device if first is not None else self.device
        self.model.eval().to(self.device)

    def __exit__(self, *_: object) -> None:
        self.model.to(self.home)
        for module, training in self.training.items():
            module.training = training


def choose(model: nn.Module, images: torch.Tensor, names: Sequence[str] | None) -> list[Unit]:
    """Find the units of a model on a few images, and keep those named or all that can be shown."""
    units = units_of(model, images)
    if names is not None:
        return [units[name] for name in names]
    found = [unit for unit in units if unit.recordable and not unit.degenerate]
    if not found:
        raise UnitError(f"{type(model).__name__} has no unit whose weights can be shown:\n{units}")
    return found


def labels(units: Sequence[Unit]) -> dict[str, tuple[float, ...]]:
    """Name every call of every unit, with its `sizes`."""
    return {
        f"{unit.name or 'model'}{f'@{call}' if unit.calls > 1 else ''}": unit.sizes
        for unit in units
        for call in range(unit.calls)
    }


def measure(model: nn.Module, images: torch.Tensor, units: Sequence[Unit]) -> dict[str, np.ndarray]:
    """Run the model on one batch (B, 3, S, S); return its weights and predictions."""
    with torch.inference_mode(), record(model, units, reduce="spatial_mean") as recording:
        logits = model(images)
    probability, prediction = probabilities(logits).max(1)
    recorded = zip(labels(units), recording.weights.values(), strict=True)
    kept = {f"weight {name}": weights.float().cpu().numpy() for name, weights in recorded}
    shown = (images[:EXAMPLES] * 255).round().byte().permute(0, 2, 3, 1)
    return kept | {
        "probability": probability.cpu().numpy(),
        "prediction": prediction.cpu().numpy(),
        "thumbnail": shown.cpu().numpy(),
    }


def assemble(
    measured: dict[str, np.ndarray],
    kernels: dict[str, tuple[float, ...]],
    scenes: Scenes,
    scales: list[float],
    model: nn.Module,
) -> xr.DataTree:
    """Label the measurements, and say where they come from."""
    tree = labelled(measured, kernels, scenes, scales, category_index(model, scenes))
    tree.attrs = provenance(model) | scenes.attrs | images_shown(scenes, scales)
    return tree


def labelled(
    measured: dict[str, np.ndarray],
    kernels: dict[str, tuple[float, ...]],
    scenes: Scenes,
    scales: Sequence[float],
    truth: torch.Tensor | None,
) -> xr.DataTree:
    """Label the measurements."""
    most = max(map(len, kernels.values()))
    shape = (len(scenes), len(scales), len(kernels), most)
    weight, spread = np.full(shape, np.nan), np.full(shape, np.nan)
    kernel = np.full((len(kernels), most), np.nan)
    nodes = {}
    for index, (name, sizes) in enumerate(kernels.items()):
        channels = measured[f"weight {name}"]  # (image, scale, branch, channel)
        weight[:, :, index, : len(sizes)] = channels.mean(-1, dtype=np.float64)
        spread[:, :, index, : len(sizes)] = channels.std(-1, dtype=np.float64)
        kernel[index, : len(sizes)] = sizes
        dims = ("image", "scale", f"branch {name}", "channel")
        node = xr.Dataset({"weight": (dims, channels)}).rename({dims[2]: "branch"})
        padding = {"branch": (0, most - len(sizes))}
        nodes[name] = node.pad(padding, constant_values=np.nan) if padding["branch"][1] else node
    known = measured["prediction"] >= 0
    # Missing is missing: an image that was skipped has no class, right or wrong.
    prediction = np.where(known, measured["prediction"], np.nan).astype("f4")
    root = xr.Dataset(
        {
            "weight": (("image", "scale", "unit", "branch"), weight),
            "spread": (("image", "scale", "unit", "branch"), spread),
            "prediction": (("image", "scale"), prediction),
            "probability": (("image", "scale"), measured["probability"]),
            "thumbnail": (
                ("example", "scale", "y", "x", "rgb"),
                measured["thumbnail"][:EXAMPLES],
            ),
        },
        coords={
            "image": list(scenes.ids),
            "scale": list(scales),
            "unit": list(kernels),
            "kernel": (("unit", "branch"), kernel),
            "category": ("image", list(scenes.category)),
        },
    )
    if truth is not None:
        right = prediction == truth.numpy()[:, None]
        root["correct"] = (("image", "scale"), np.where(known, right, np.nan).astype("f4"))
    return xr.DataTree(root, children={name: xr.DataTree(ds) for name, ds in nodes.items()})


def images_shown(scenes: Scenes, scales: Sequence[float]) -> dict[str, Any]:
    """Say which images are shown, and at which scales."""
    ids = list(scenes.ids)
    few = ids if len(ids) <= SOME else [*ids[:2], "…", ids[-1]]
    return {
        "images": len(ids),
        "ids": few,
        "ids_sha256": sha256_of([repr(ids).encode()]),
        "scales": list(scales),
    }


def described(
    model: nn.Module, scenes: Scenes, scales: Sequence[float], **options: Any
) -> dict[str, Any]:
    """Say where a result comes from: code, model, images, scales and options."""
    images = {"images_sha256": images_hash(scenes.content)}
    return provenance(model) | scenes.attrs | images_shown(scenes, scales) | images | options


def provenance(model: nn.Module) -> dict[str, Any]:
    """Say which code, model and data a result comes from."""
    card = getattr(model, "card", None)
    return {
        "skviz": version("skviz"),
        "torch": str(torch.__version__),
        "model": card.name if card else type(model).__name__,
        "model_sha256": zoo.weights_hash(model),
    }
