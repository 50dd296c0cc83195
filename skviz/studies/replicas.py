"""Batches side by side: each on one thread, by a copy of the model that shares its parameters.

A network spread over several threads waits for all of them after every operation; several networks
on one thread each wait for nobody. Where something in the calling thread decides what the model
does, or a copy does not give exactly what the model gives, the model goes on alone in that thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from threading import Barrier
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from skviz.capture import Unit
from skviz.capture.recording import record

MOST = 4  # what Python does for a forward pass is done by one thread at a time
WAITING = 2  # batches that wait, ready, for a model
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def replicate(
    model: nn.Module, images: Tensor, units: Sequence[Unit], most: int
) -> list[nn.Module]:
    """Return a model, and copies of it, for as many threads as PyTorch would take; none for none.

    Copies have to give what the model gives, bit by bit, while others run on other images: what is
    kept outside of a model, or shared with its copies, would be mixed up then.

    Parameters
    ----------
    model
        At rest, on its device.
    images
        On which copies are tried.
    units
        Whose weights have to be the same.
    most
        As many as there are batches.
    """
    if _depends_on_this_thread(model):
        return []
    most = min(most, MOST, torch.get_num_threads()) if images.device.type == "cpu" else 1
    if most < 2:
        return [model]
    start = Barrier(most, timeout=60)

    def given(own: nn.Module, shown: Tensor) -> list[Tensor]:
        with torch.inference_mode(), record(own, units) as recording:
            output = own(shown)
        every = (*tree_leaves(output), *recording.weights.values())
        return [each for each in every if isinstance(each, Tensor)]

    def at_once(own: nn.Module, shown: Tensor) -> list[Tensor]:
        try:
            start.wait()
            return given(own, shown)
        except BaseException:
            start.abort()  # nobody is to wait for this one
            raise

    shown = [images if turn % 2 else images.flip(-1) for turn in range(2 * most)]
    threads = torch.get_num_threads()
    try:
        parameters = {id(each): each for each in model.parameters()}
        found = [model, *(deepcopy(model, dict(parameters)) for _ in range(most - 1))]
        torch.set_num_threads(1)
        expected = [given(model, each) for each in shown[:2]] * most
        together = [*side_by_side(at_once, shown, found)]
        same = all(
            len(one) == len(other) and all(map(torch.equal, one, other))
            for one, other in zip(expected, together, strict=True)
        )
    except Exception:  # whatever a model does that will not be copied
        return []
    finally:
        torch.set_num_threads(threads)
    return found if same else []


def _depends_on_this_thread(model: nn.Module) -> bool:
    """Whether it has hooks, or the thread is in a context, which hold in this thread alone."""
    device = next((each.device for each in model.parameters()), torch.device("cpu"))
    hooked = any(getattr(each, kind, None) for each in model.modules() for kind in HOOKS)
    return hooked or in_context(device)


def in_context(device: torch.device) -> bool:
    """Whether this thread is in autocast, in a mode of PyTorch's, or on a stream of its own."""
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    cuda = device.type == "cuda"
    stream = cuda and torch.cuda.current_stream() != torch.cuda.default_stream()
    return modes > 0 or stream or torch.is_autocast_enabled(device.type)


def side_by_side(
    do: Callable[[nn.Module, Any], Any], items: Iterable[Any], models: Sequence[nn.Module]
) -> Generator[Any]:
    """Do something with each item, in order, by whichever model is free.

    Parameters
    ----------
    do
        Takes a model and an item.
    items
        Made in this thread, a few ahead.
    models
        Each works on one thread.
    """
    free, waiting = [*models], deque[Any]()

    def by_one(item: Any) -> Any:
        model = free.pop()
        try:
            return do(model, item)
        finally:
            free.append(model)

    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(len(models))
    try:
        if len(models) > 1:
            torch.set_num_threads(1)  # of those of the pool too, which begin now
        for item in items:
            waiting.append(pool.submit(by_one, item))
            if len(waiting) >= len(models) + WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
