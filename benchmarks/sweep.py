"""Throughput of a study beside the bare model and beside a loop with hooks, in one run.

    python benchmarks/sweep.py [--images 256] [--rounds 5] [--threads 2] [--sknet50] [--workers]

In each round, in a new order:

- bare: the model on ready tensors, batch after batch, in inference mode; nothing is recorded;
- copies: the same tensors by copies of the model, side by side, as a study runs them;
- study: `skviz.sweep` into a new Zarr store, from cut-outs to chunks on the disk; `memory` is the
  same without a store; `onnx` and `bfloat16` are `study` with that engine or precision;
- loop: image by image, scale by scale, forward hooks on the softmaxes, as scripts do it.

Ratios are formed within a round; medians and quartiles over rounds are printed. Finding the units
and hashing model and data happen once per study and are timed apart, as a study of one image.
--sknet50 takes that network, at 224² with random weights, in the place of `objects`.
--workers compares one and two Dask workers of one thread each instead.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

import skviz
from skviz.models.nn import SKConv, sknet50
from skviz.scenes.source import Scenes
from skviz.studies.replicas import replicate, side_by_side
from skviz.studies.setting import batch_size

SCALES = (0.5, 1.0, 1.5, 2.0)
CPU = torch.device("cpu")


def bare(model: torch.nn.Module, ready: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for images in ready:
            model(images)


def run(model: torch.nn.Module, images: torch.Tensor) -> None:
    with torch.inference_mode():
        model(images)


def loop(model: torch.nn.Module, scenes: Scenes) -> None:
    kept: list[torch.Tensor] = []
    units = [module for module in model.modules() if isinstance(module, SKConv)]
    hooks = [u.softmax.register_forward_hook(lambda _m, _i, out: kept.append(out)) for u in units]
    with torch.inference_mode():
        for index in range(len(scenes)):
            for scale in SCALES:
                model(scenes[index : index + 1].render(scale))
    for hook in hooks:
        hook.remove()


def study(model: torch.nn.Module, scenes: Scenes, **options: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = {"store": Path(folder) / "study.zarr"} | options
        skviz.sweep(model, scenes, scales=SCALES, device="cpu", progress=False, **options)


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def shown(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}–{high:.3f})"


def placed(images: int, canvas: int = 96) -> Scenes:
    """So many scenes, each with a name of its own."""
    cut_outs = skviz.objects()
    scenes = skviz.place(cut_outs[[i % len(cut_outs) for i in range(images)]], canvas=canvas)
    return replace(scenes, ids=tuple(f"{i}" for i in range(images)))


def throughput(
    images: int, rounds: int, model: torch.nn.Module, canvas: int = 96
) -> dict[str, list[float]]:
    """Ratios by what is compared, one for each round."""
    scenes = placed(images, canvas)
    batch = batch_size(scenes, CPU)
    ready = [scenes[i : i + batch].render(s) for i in range(0, images, batch) for s in SCALES]
    few, ways = scenes[: images // 8], {}
    ways["bare"] = lambda: bare(model, ready)
    copies = replicate(model, ready[0], [*skviz.find_units(model, ready[0])], len(ready))
    ways["copies"] = lambda: [*side_by_side(run, ready, copies)]
    ways["study"] = lambda: study(model, scenes)
    ways["memory"] = lambda: study(model, scenes, store=None)
    ways["onnx"] = lambda: study(model, scenes, engine="onnx")
    ways["bfloat16"] = lambda: study(model, scenes, precision="bfloat16")
    ways["loop"] = lambda: loop(model, few)
    once = lambda: study(model, scenes[:1])  # noqa: E731
    for way in (*ways.values(), once):
        way()
    rate: dict[str, list[float]] = {name: [] for name in ways}
    fixed = []
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            count = len(few) if name == "loop" else images
            rate[name].append(count * len(SCALES) / seconds(ways[name]))
        fixed.append(seconds(once))
    print(f"bare model: {shown(rate['bare'])} images/s; once per study: {shown(fixed)} s")
    pairs = [(name, "bare") for name in ("copies", "study", "memory", "onnx", "bfloat16", "loop")]
    pairs += [(name, "loop") for name in ("study", "onnx", "bfloat16")]
    ratios = {
        f"{one} / {other}": [a / b for a, b in zip(rate[one], rate[other], strict=True)]
        for one, other in pairs
    }
    for name, values in ratios.items():
        print(f"{name}: {shown(values)}")
    return ratios


def workers(images: int, rounds: int) -> None:
    from distributed import Client, LocalCluster

    model, scenes = skviz.load("objects"), placed(images)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    taken: dict[int, list[float]] = {1: [], 2: []}
    with (
        LocalCluster(env={"OMP_NUM_THREADS": "1"}, **options) as cluster,
        Client(cluster) as client,
    ):
        for _ in range(rounds):
            for count in (1, 2):
                cluster.scale(count)
                client.wait_for_workers(count)
                while len(client.scheduler_info()["workers"]) != count:
                    time.sleep(0.1)
                study(model, scenes[:64], client=client, chunk=32)  # loads what workers need
                taken[count].append(seconds(lambda: study(model, scenes, client=client, chunk=32)))
    ratios = [one / two for one, two in zip(taken[1], taken[2], strict=True)]
    print(f"two workers / one: {shown(ratios)}; one takes {shown(taken[1])} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sknet50", action="store_true")
    parser.add_argument("--workers", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.workers:
        workers(arguments.images, arguments.rounds)
    elif arguments.sknet50:
        throughput(arguments.images, arguments.rounds, sknet50().eval(), 224)
    else:
        throughput(arguments.images, arguments.rounds, skviz.load("objects"))
