"""What recording the branch weights of SKNet-50 costs, beside its peers, in one run.

    python benchmarks/recording.py [--rounds 15] [--small] [--peers NAME …] [--json FILE]

Everyone keeps the outputs of the same softmax modules, in evaluation and inference mode; units,
graphs and wrappers are made beforehand. `record` is measured entered anew for every forward pass
(which includes its own checks) and entered once around many ("within"). The contenders take turns
in a new order every round; a ratio to the plain forward pass, and a difference, is formed within a
round, and medians and quartiles over the rounds are reported. --small is one image of 32², where
the fixed cost stands out. A peer that is not installed, or fails, is named and left out.
torchlens wraps PyTorch's functions for the rest of the process, which slows everyone: measure it
alone, with --peers torchlens, and take only its own row.
"""

import argparse
import copy
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from skviz import find_units, record
from skviz.models.nn import SKConv, sknet50

Forward = Callable[[Tensor], object]


def feature_extractor(model: nn.Module, names: list[str]) -> Forward:
    from torchvision.models.feature_extraction import create_feature_extractor

    return create_feature_extractor(model, [*names, "fc"])


def captum(model: nn.Module, names: list[str]) -> Forward:
    from captum.attr import LayerActivation

    return LayerActivation(model, [model.get_submodule(name) for name in names]).attribute


def torchlens(model: nn.Module, _names: list[str]) -> Forward:
    import torchlens as tl

    return lambda x: tl.fastlog.record(model, x, save=tl.func("softmax"))


def nnsight(model: nn.Module, names: list[str]) -> Forward:
    from nnsight import NNsight

    wrapped = NNsight(model)

    def forward(x: Tensor) -> dict[str, Tensor]:
        kept = {}
        with wrapped.trace(x):
            for name in names:
                kept[name] = wrapped.get(name).output.save()
        return kept

    return forward


PEERS = {make.__name__: make for make in (feature_extractor, captum, torchlens, nnsight)}


def contenders(model: nn.Module, x: Tensor, peers: list[str]) -> dict[str, Forward]:
    """Every way to record, by name; each is tried once."""
    units = find_units(model, x)
    names = [f"{name}.softmax" for name, module in model.named_modules() if type(module) is SKConv]

    def recorded(x: Tensor) -> None:
        with record(model, units):
            model(x)

    ways: dict[str, Forward] = {"plain": model, "record": recorded}
    for peer in peers:
        try:
            way = PEERS[peer](copy.deepcopy(model), names)
            way(x)
        except Exception as problem:
            print(f"left out: {peer} ({type(problem).__name__}: {problem})"[:120])
        else:
            ways[peer] = way
    return ways


def seconds(forward: Forward, x: Tensor) -> float:
    start = time.perf_counter()
    forward(x)
    return time.perf_counter() - start


def compare(model: nn.Module, x: Tensor, rounds: int, peers: list[str]) -> dict[str, list[float]]:
    """Seconds of every way to record, one per round."""
    ways = contenders(model, x, peers)
    times: dict[str, list[float]] = {name: [] for name in [*ways, "record, within"]}
    units = find_units(model, x)
    for _ in range(rounds):
        for name in random.sample(list(times), len(times)):
            if name == "record, within":
                with record(model, units):
                    model(x)
                    times[name].append(seconds(model, x))
            else:
                ways[name](x)
                times[name].append(seconds(ways[name], x))
    return times


def report(times: dict[str, list[float]]) -> None:
    print(f"{'':20}{'ms':>9}   {'time / plain':24}more than plain, ms")
    for name, own in times.items():
        pairs = list(zip(own, times["plain"], strict=True))
        low, mid, high = statistics.quantiles((a / b for a, b in pairs), n=4)
        more = 1e3 * statistics.median(a - b for a, b in pairs)
        spread = f"{mid:.3f} ({low:.3f}–{high:.3f})"
        print(f"{name:20}{1e3 * statistics.median(own):9.2f}   {spread:24}{more:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="one image of 32², not eight of 224²")
    usual = [name for name in PEERS if name != "torchlens"]
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=usual)
    parser.add_argument("--json", type=Path, help="also write every time to this file")
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    random.seed(0)
    x = torch.randn((1, 3, 32, 32) if options.small else (8, 3, 224, 224))
    with torch.inference_mode():
        times = compare(sknet50().eval(), x, options.rounds, options.peers)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {tuple(x.shape)}")
    report(times)
    if options.json:
        options.json.write_text(json.dumps(times, indent=1))


if __name__ == "__main__":
    main()
