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
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from skviz.capture import Unit
from skviz.capture.recording import record

MOST = 4  # what Python does for a forward pass is done by one thread at a time
WAITING = 2  # batches that wait, ready, for a model
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def models(model: nn.Module, images: Tensor, units: Sequence[Unit], most: int) -> list[nn.Module]:
    """Return a model, and copies of it, for as many threads as PyTorch would take; none for none.

    Parameters
    ----------
    model
        At rest, on its device.
    images
        On which copies have to give the same, bit by bit.
    units
        Whose weights have to be the same.
    most
        As many as there are batches.
    """
    if _depends_on_this_thread(model):
        return []
    found = [model]
    most = min(most, MOST, torch.get_num_threads()) if images.device.type == "cpu" else 1
    try:
        expected = _given(model, images, units)
        while len(found) < most:
            own = deepcopy(model, {id(each): each for each in model.parameters()})
            given = _given(own, images, units)
            if len(given) != len(expected) or not all(map(torch.equal, given, expected)):
                return []
            found.append(own)
    except Exception:  # whatever a model does that will not be copied
        return []
    return found


def _depends_on_this_thread(model: nn.Module) -> bool:
    """Whether something around this thread, or that listens to the model, would miss the others."""
    hooked = any(getattr(each, kind, None) for each in model.modules() for kind in HOOKS)
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    device = next((each.device.type for each in model.parameters()), "cpu")
    return hooked or modes > 0 or torch.is_autocast_enabled(device)


def _given(model: nn.Module, images: Tensor, units: Sequence[Unit]) -> list[Tensor]:
    with torch.inference_mode(), record(model, units) as recording:
        output = model(images)
    given = [*tree_leaves(output), *recording.weights.values()]
    return [each for each in given if isinstance(each, Tensor)]


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
