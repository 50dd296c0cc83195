"""Whether anything has become slower: ratios against peers, compared with a table in git.

    python benchmarks/watched.py [--rounds 7] [--write]

All are formed within a round of one run, and larger is better, so the machine may be another one
than the table's, if it is not too unlike. What is more than a tenth below the table, and whose
upper quartile is below the table's median too, is marked, and makes the command end with 1.
--write makes the table anew.
"""

import argparse
import json
import platform
import random
import statistics
import sys
from pathlib import Path

import attribution
import recording
import sweep
import torch
import units

import skviz

TABLE = Path(__file__).with_suffix(".json")
WORSE = 0.9
Quartiles = list[float]  # lower, median, upper


def worse(now: Quartiles, before: Quartiles) -> bool:
    """Whether a ratio is more than a tenth smaller, by more than its own spread."""
    return now[1] < WORSE * before[1] and now[2] < before[1]


def measured(rounds: int) -> dict[str, Quartiles]:
    """Quartiles of each ratio over rounds."""
    found: dict[str, list[float]] = {}

    def compared(name: str, slower: list[float], faster: list[float]) -> None:
        found[name] = [a / b for a, b in zip(slower, faster, strict=True)]

    torch.set_num_threads(2)
    units.keep_memory()
    with torch.inference_mode():
        for shape in units.SHAPES:
            times = units.compare(shape, torch.contiguous_format, rounds)["seconds"]
            name = f"unit {shape[1]}×{shape[2]}²"
            for base in ("limit", *units.PEERS):
                compared(f"{name}: {base} / SKConv", times[base], times["SKConv"])
        for size, x in (("1 × 32²", (1, 3, 32, 32)), ("8 × 224²", (8, 3, 224, 224))):
            times = recording.compare(recording.sknet50().eval(), torch.randn(x), rounds, [])
            compared(f"recording, {size}: plain / record", times["plain"], times["record"])
    model = skviz.load("objects")
    images = skviz.place(skviz.objects(family="fxemoji")[:8]).render(1.0)
    for name, (method, count) in attribution.CASES.items():
        times, _ = attribution.compare(model, images[:count], method, max(3, rounds // 3))
        compared(f"attribution, {name}: Captum / skviz", times["captum"], times["skviz"])
    for name, ratios in sweep.throughput(128, max(3, rounds // 2), model).items():
        found[f"study: {name}"] = ratios
    return {name: statistics.quantiles(ratios, n=4) for name, ratios in found.items()}


def shown(values: Quartiles | None) -> str:
    """Quartiles in a few characters."""
    return f"{values[1]:6.2f} ({values[0]:.2f}–{values[2]:.2f})" if values else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="make the table anew")
    options = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    now = measured(options.rounds)
    table = json.loads(TABLE.read_text()) if TABLE.exists() else {"ratios": {}}
    before = table["ratios"]
    print(f"\n{'':52}{'table':24}now")
    bad = 0
    for name in sorted({*now, *before}):
        here, there = now.get(name), before.get(name)
        slower = bool(there) and (not here or worse(here, there))
        bad += slower
        print(f"{name:52}{shown(there):24}{shown(here):24}{'slower' if slower else ''}")
    if options.write:
        where = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
                 "machine": platform.machine()}  # fmt: skip
        TABLE.write_text(json.dumps({"where": where, "ratios": now}, indent=1) + "\n")
    elif bad:
        sys.exit(f"{bad} are slower than in {TABLE.name}")


if __name__ == "__main__":
    main()
