"""A processor that rounds otherwise: ``pytest -p tests.rounding``.

Convolutions and matrix products of float32 numbers depend in their last bits on the processor,
the number of threads, and the size of the batch. Here the last bits are changed on purpose, in a
way that depends on nothing but the shape of the result, so that a test which trusts them fails on
every machine and not only on that of a stranger.
"""

from typing import Any

import torch

PRODUCTS = ("convolution", "convolution_backward", "addmm", "mm", "bmm", "baddbmm")
LAST_BITS = 4 * 2.0**-23  # more than is seen: a test should not stand at the brink
_library = torch.library.Library("aten", "IMPL")


def rounded(result: Any) -> Any:
    """Move each float32 number by a few last bits of what is usual in its row."""
    if isinstance(result, (tuple, list)):
        return type(result)(rounded(part) for part in result)
    number = isinstance(result, torch.Tensor) and result.dtype == torch.float32 and result.ndim > 0
    if not number or not result.numel() or torch.jit.is_tracing():
        return result
    generator = torch.Generator().manual_seed(hash(tuple(result.shape)) % 2**63)
    step = torch.rand(result.shape, generator=generator) * 2 - 1
    row = result.flatten(1) if result.ndim > 1 else result[:, None]
    usual = row.square().mean(1).sqrt().view(-1, *[1] * (result.ndim - 1)) * LAST_BITS
    return torch.where(result == 0, result, result + step * usual)  # what is unconnected stays so


def _register(name: str) -> None:
    kernel = torch.library.get_kernel(f"aten::{name}", "CPU")

    def call(keys: Any, *args: Any, **options: Any) -> Any:
        return rounded(kernel.call_boxed(keys, *args, **options))

    _library.impl(name, call, "CPU", with_keyset=True, allow_override=True)


for _name in PRODUCTS:
    _register(_name)
