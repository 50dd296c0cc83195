"""What attributing every branch weight costs beside Captum called once per target, in one run.

    python benchmarks/attribution.py [--rounds 5] [--side 96] [--only NAME …] [--json FILE]

The targets are all branches of all units of the shipped network `objects`, which both know
beforehand; finding them is timed apart. Captum's forward function runs the model inside
`skviz.record(…, grad=True)` and returns the mean weight of one branch; it is called once for each
target. Ours is `skviz.attribute` as a user calls it: it computes the values, the completeness error
and the provenance too. Both take turns in a new order every round; a ratio is formed within a
round, and its median and quartiles over the rounds are reported, with the largest difference of
the maps as a share of each map's largest value.
"""

import argparse
import json
import random
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from captum.attr import IntegratedGradients, Saliency
from torch import Tensor, nn

import skviz

STEPS = 32
CASES = {
    f"{method}, {count} image{'s' * (count > 1)}": (method, count)
    for method in ("saliency", "integrated_gradients")
    for count in (1, 8)
}


def ours(model: nn.Module, images: Tensor, method: str, units: skviz.capture.Units) -> Tensor:
    """Return all maps, (target, image, y, x)."""
    options = {"steps": STEPS} if method == "integrated_gradients" else {}
    targets = skviz.target.every_branch(units)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 32 steps may miss completeness
        ds = skviz.attribute(
            model, images, target=targets, method=method, check="warn", progress=False, **options
        )
    return torch.tensor(ds["attribution"].values)


def captum(model: nn.Module, images: Tensor, method: str, units: skviz.capture.Units) -> Tensor:
    """Return the same maps, one call for each target."""

    def weight(unit: skviz.capture.Unit, branch: int, rows: Tensor) -> Tensor:
        with skviz.record(model, [unit], grad=True) as recording:
            model(rows)
        return recording.weights[unit.name].mean(2)[:, branch]

    maps = []
    inputs = images.clone().requires_grad_()
    baseline = images.mean((2, 3), keepdim=True).expand_as(images)
    for unit in units:
        for branch in range(unit.branches):
            forward = partial(weight, unit, branch)
            if method == "saliency":
                found = Saliency(forward).attribute(inputs, abs=False)
            else:
                found = IntegratedGradients(forward).attribute(
                    inputs, baseline, n_steps=STEPS, internal_batch_size=64
                )
            maps.append(found.detach().sum(1))
    return torch.stack(maps)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(
    model: nn.Module, images: Tensor, method: str, rounds: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of both, one per round, and how far the maps differ."""
    units = skviz.find_units(model, images)
    ways = {
        "skviz": partial(ours, model, images, method, units),
        "captum": partial(captum, model, images, method, units),
    }
    maps = {name: run() for name, run in ways.items()}
    size = maps["captum"].abs().amax((2, 3), keepdim=True)
    difference = float(((maps["skviz"] - maps["captum"]) / size).abs().max())
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            times[name].append(seconds(ways[name]))
    return times, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=96, help="of the scenes, in pixels")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="also write every time to this file")
    options = parser.parse_args()
    torch.set_num_threads(2)
    random.seed(0)
    model = skviz.load("objects")
    objects = skviz.objects(family="fxemoji")[:8]
    images = skviz.place(objects, canvas=options.side).render(1.0)
    found = statistics.median(
        seconds(lambda: skviz.find_units(model, images[:3])) for _ in range(5)
    )
    print(f"finding the units takes {found:.2f} s")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.side}²")
    print(f"{'':32}{'skviz s':>9}{'Captum s':>10}   {'Captum / skviz':22}largest difference")
    results = {}
    for name in options.only:
        method, count = CASES[name]
        times, difference = compare(model, images[:count], method, options.rounds)
        ratios = [b / a for a, b in zip(times["skviz"], times["captum"], strict=True)]
        low, mid, high = statistics.quantiles(ratios, n=4)
        medians = {way: statistics.median(own) for way, own in times.items()}
        print(
            f"{name:32}{medians['skviz']:9.2f}{medians['captum']:10.2f}   "
            f"{f'{mid:.2f} ({low:.2f}–{high:.2f})':22}{difference:.1e}",
            flush=True,
        )
        results[name] = {"seconds": times, "difference": difference}
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
