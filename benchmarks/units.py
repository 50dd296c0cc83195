"""One Selective-Kernel unit against its peers, in one run: time and peak memory of evaluation.

    python benchmarks/units.py [--rounds 25] [--json FILE]

Every unit mixes two branches, 3×3 and 3×3 with dilation 2 ("5×5"), 32 groups, d = max(C / 16, 32),
at the shapes of SKNet-50. The *limit* is the two Conv–BN–ReLU branches alone, with nothing fused
or selected: no unit that runs these branches can be faster.

Time. The units take turns, in a new order every round, so that a slow moment of the machine meets
all of them; a ratio is formed within a round, and its median and quartiles over the rounds are
reported. One turn repeats the forward pass for about 8 ms, after one pass that is not timed. The C
library is told to keep the memory it was given: otherwise it hands pages back and faults them in
again, by accident of what ran before, at up to twice the cost of the unit itself. This favours the
units that allocate most.

Memory. The profiler reports every allocation and release of PyTorch's CPU allocator, those inside
operators included; the peak of their running sum, over one forward pass, is what a unit needs
beyond its input and parameters. Resident memory would instead show what the C library keeps.
"""

import argparse
import ctypes
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorchcv.models.sknet import SKConvBlock
from timm.layers.selective_kernel import SelectiveKernel
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from skviz.models.nn import SKAttention, SKConv

SHAPES = [(8, 128, 56, 56), (8, 256, 28, 28), (8, 512, 14, 14)]
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PEERS = ["timm", "pytorchcv", "article"]
Forward = Callable[[Tensor], object]
Result = dict[str, dict[str, Any]]  # quantity, unit


class Article(SKAttention):
    """The article's formula as written: U built, branches stacked, weighted and summed."""

    def forward(self, x: Tensor) -> Tensor:
        """Mix the branches of x, (B, C, H, W), by their weights."""
        branches = [conv(x) for conv in self.convs]
        stack = torch.stack(branches)  # (M, B, C, H, W)
        z = self.fc(sum(branches).mean(-1).mean(-1))  # (B, d)
        logits = torch.stack([fc(z)[..., None, None] for fc in self.fcs])  # (M, B, C, 1, 1)
        return (self.softmax(logits) * stack).sum(0)


def units(channels: int, memory_format: torch.memory_format) -> dict[str, Forward]:
    """Every contender at one width, by name."""
    d = max(channels // 16, 32)
    skconv = SKConv(channels, kernels=(3, 5), groups=32)
    skattention = SKAttention(channels, kernels=(3, 5), group=32)
    article = Article(channels, kernels=(3, 5), group=32)
    skattention.convs = article.convs = skconv.convs  # the article's kernels are true: same work
    modules: dict[str, nn.Module] = {
        "SKConv": skconv,
        "SKAttention": skattention,
        "timm": SelectiveKernel(channels, groups=32, rd_channels=d, split_input=False),
        "pytorchcv": SKConvBlock(channels, channels, stride=1),
        "article": article,
    }
    for module in modules.values():
        module.eval().to(memory_format=memory_format)
    return {**modules, "limit": lambda x: [branch(x) for branch in skconv.convs]}


def keep_memory() -> None:
    """Stop glibc from returning freed memory to the system (other C libraries: do nothing)."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        libc.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: 32 MiB is the most it takes


def seconds(forward: Forward, x: Tensor, repeats: int) -> float:
    """Mean time of a forward pass, after one that is not timed."""
    forward(x)
    start = time.perf_counter()
    for _ in range(repeats):
        forward(x)
    return (time.perf_counter() - start) / repeats


def peak_bytes(forward: Forward, x: Tensor) -> int:
    """Largest sum of live allocations during one forward pass, in bytes."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        forward(x)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    live = peak = 0
    for event in sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"]):
        live += event["args"]["Bytes"]
        peak = max(peak, live)
    return peak


def compare(shape: tuple[int, ...], memory_format: torch.memory_format, rounds: int) -> Result:
    """Measure every unit at one shape: times (seconds, one per round) and peak memory (bytes)."""
    contenders = units(shape[1], memory_format)
    x = torch.randn(shape).to(memory_format=memory_format)
    peak = {name: peak_bytes(forward, x) for name, forward in contenders.items()}
    repeats = max(1, round(0.008 / seconds(contenders["limit"], x, 1)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            times[name].append(seconds(contenders[name], x, repeats))
    return {"seconds": times, "peak_bytes": peak}


def quartiles(above: list[float], below: list[float]) -> list[float]:
    """Lower quartile, median and upper quartile of the ratios of two units, round by round."""
    return statistics.quantiles((a / b for a, b in zip(above, below, strict=True)), n=4)


def report(shape: tuple[int, ...], name: str, result: Result) -> None:
    """Print one shape in one memory format."""
    times, peak = result["seconds"], result["peak_bytes"]
    fastest = min(PEERS, key=lambda peer: statistics.median(times[peer]))
    print(f"\n{shape[1]}×{shape[2]}², {name}; fastest peer: {fastest}")
    print(f"{'':12}{'ms':>8}   {'time / SKConv':20}{'time / limit':20}{'peak MiB':>8}")
    for unit, seconds_ in times.items():
        ratios = (quartiles(seconds_, times[base]) for base in ("SKConv", "limit"))
        spread = "".join(f"{f'{mid:.2f} ({low:.2f}–{high:.2f})':20}" for low, mid, high in ratios)
        median = 1e3 * statistics.median(seconds_)
        print(f"{unit:12}{median:8.2f}   {spread}{peak[unit] / 2**20:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=25, help="rounds per shape and format")
    parser.add_argument("--json", type=Path, help="also write every time and peak to this file")
    options = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # the profiler's own chatter
    keep_memory()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    random.seed(0)
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {capability}")
    results = {}
    with torch.inference_mode():
        for shape in SHAPES:
            for name, memory_format in FORMATS.items():
                result = compare(shape, memory_format, options.rounds)
                report(shape, name, result)
                results[f"{shape[1]}x{shape[2]} {name}"] = result
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
