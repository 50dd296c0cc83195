"""What finding units costs, in forward passes of one image.

    python benchmarks/finding.py [--rounds 9] [MODEL …]

A model is called by its name in timm, or is one of those that ship. In each round it runs on one
image, on two (the least that finding can take, since it looks at two), and its units are found, in
processor time of one thread; the median of the ratios is printed with its quartiles.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch

import skviz
from skviz.models.zoo import names

MODELS = ["objects", "skresnet18", "resnest50d"]


def seconds(run: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}\n{'':14}{'image, ms':>10}  {'two images':18}finding")
    for name in options.models:
        own = name in names()
        model = skviz.load(name) if own else timm.create_model(name).eval()
        one = torch.rand(1, 3, *[96 if own else 224] * 2)
        two = torch.cat([one, one.flip(3)])
        runs = [lambda: model(one), lambda: model(two), lambda: skviz.find_units(model, one)]  # noqa: B023
        with torch.no_grad():
            rounds = [[seconds(run) for run in runs] for _ in range(1 + options.rounds)][1:]
        line = f"{name:14}{1e3 * statistics.median(each[0] for each in rounds):>10.1f}  "
        for at in (1, 2):
            low, middle, high = statistics.quantiles((each[at] / each[0] for each in rounds), n=4)
            line += f"{f'{middle:.1f} ({low:.1f}–{high:.1f})':18}"
        print(line.rstrip())


if __name__ == "__main__":
    main()
