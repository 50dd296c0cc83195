"""How far a unit and a network are from what this machine could do (Williams et al., CACM 2009).

    python benchmarks/roofline.py [--threads 1] [--rounds 15]

What the machine can do is measured, not read from a data sheet: its bandwidth by copying 256 MiB
(each byte read and written once), its arithmetic by a product of two 2048² matrices, in float32
and in bfloat16. What a computation needs: its floating-point operations as PyTorch's own counter
gives them (two for each multiplication and addition of a convolution or product), and the bytes
that its operations read and write if they run one after the other, from memory: what stays in a
cache, or is fused, can be faster. The limit is the longer of both times.
"""

import argparse

import torch
from scaling import seconds
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import skviz
from skviz.models.nn import SKConv

SHAPES = [(8, 128, 56, 56), (8, 256, 28, 28), (8, 512, 14, 14)]


def bandwidth(rounds: int) -> float:
    """Bytes per second."""
    source = torch.ones(2**26)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / seconds(lambda: target.copy_(source), rounds)


def arithmetic(dtype: torch.dtype, rounds: int) -> float:
    """Floating-point operations per second."""
    one, other = torch.rand(2, 2048, 2048).to(dtype)
    return 2 * 2048**3 / seconds(lambda: one @ other, rounds)


def operations(model: nn.Module, x: Tensor) -> int:
    """Floating-point operations of a forward pass."""
    with FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops()


class Traffic(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts the bytes of all tensors that operations read and write, views for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = [t for t in torch.utils._pytree.tree_leaves((args, kwargs, made))
                       if isinstance(t, Tensor)]  # fmt: skip
            self.bytes += sum(tensor.nbytes for tensor in tensors)
        return made


def traffic(model: nn.Module, x: Tensor) -> int:
    """Bytes that the operations of a forward pass read and write."""
    with Traffic() as counter:
        model(x)
    return counter.bytes


def line(name: str, model: nn.Module, x: Tensor, limits: tuple[float, float], rounds: int) -> None:
    """Print what a forward pass needs, takes and could take."""
    flops, moved = operations(model, x), traffic(model, x)
    taken = seconds(lambda: model(x), rounds)
    least = [flops / limits[0], moved / limits[1]]
    what = "arithmetic" if least[0] > least[1] else "bandwidth"
    numbers = [flops / 1e9, moved / 2**20, flops / moved, *(1e3 * t for t in (*least, taken))]
    share = f"{max(least) / taken:10.0%}"
    print(f"{name:24}" + "".join(f"{number:10.2f}" for number in numbers) + share, what, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        fast, half = (arithmetic(d, options.rounds) for d in (torch.float32, torch.bfloat16))
        wide = bandwidth(options.rounds)
        print(
            f"torch {torch.__version__}, {options.threads} threads; {wide / 1e9:.1f} GB/s; ", end=""
        )
        print(f"{fast / 1e9:.0f} GFLOP/s in float32, {half / 1e9:.0f} in bfloat16")
        heads = ("GFLOP", "MiB", "FLOP/B", "arith. ms", "bandw. ms", "taken ms", "of limit")
        print(f"{'':24}" + "".join(f"{head:>10}" for head in heads))
        for shape in SHAPES:
            unit, x = SKConv(shape[1], groups=32).eval(), torch.rand(shape)
            line(f"unit {shape[1]}×{shape[2]}²", unit, x, (fast, wide), options.rounds)
        model = skviz.load("objects")
        scenes = skviz.place(skviz.objects()[:8], seed=0)
        images = scenes.render(1.0)
        line("objects, 8 × 96²", model, images, (fast, wide), options.rounds)
        layout = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            line("the same in bfloat16", model, layout, (half, wide), options.rounds)
        ready = scenes.ready()
        drawn = seconds(lambda: ready.render(1.3), options.rounds)
        ds = skviz.sweep(model, scenes, precision="bfloat16", scales=[0.5, 2.0], progress=False)
        most = float(ds["precision_error"].max())
        print(f"bfloat16 changes a channel's weight by at most {most:.4f} in a few scenes")
        print(f"drawing the 8 scenes takes {1e3 * drawn:.2f} ms")


if __name__ == "__main__":
    main()
