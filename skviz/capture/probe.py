"""Run a model once on two images, write down what it computes, and leave it as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from skviz.capture.graph import Graph
from skviz.errors import UnitError

_probing = threading.Lock()  # a probe switches the model to evaluation mode for a moment


IMAGES = 2  # a batch of one hides a softmax over the batch


def probe(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    """Return the graph of one forward pass on two images like those of the example."""

    def plain(leaf: Any) -> Any:  # of a subclass nothing can be listened to
        known = type(leaf) in (Tensor, nn.Parameter) or not isinstance(leaf, Tensor)
        return leaf if known else leaf.detach().as_subclass(Tensor)

    args, kwargs = tree_map(plain, (args, kwargs))
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    if not tensors:
        raise UnitError(
            "find_units needs an example input to run the model on, but got no tensor; "
            "call it as find_units(model, torch.rand(3, 3, 224, 224))"
        )
    try:
        return _run(model, *_images(args, kwargs, tensors[0]))
    except Exception as problem:
        try:  # some models accept nothing but the batch they were made for
            return _run(model, args, kwargs)
        except Exception:
            raise UnitError(
                f"the model could not be run on the example in evaluation mode: "
                f"{type(problem).__name__}: {problem}; pass the arguments that its forward expects"
            ) from problem


def _images(args: Any, kwargs: Any, first: Tensor) -> tuple[Any, Any]:
    """Make batches of two differing images out of whatever batch the example is."""
    batch = first.shape[0] if first.dim() else 0
    generator = torch.Generator().manual_seed(0)

    def several(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.dim() or leaf.shape[0] != batch or not batch:
            return leaf
        leaf = leaf.detach()
        chosen = leaf[torch.arange(IMAGES) % batch]
        if not leaf.is_floating_point():
            return chosen
        same = [bool((chosen[i] == chosen[j]).all()) for j in range(IMAGES) for i in range(j)]
        if any(same):
            noise = torch.randn(chosen.shape, generator=generator).to(chosen)
            noise[0] = 0  # the first image stays what it is
            chosen = chosen + noise * (chosen.std() if chosen.std() > 0 else 1)
        if leaf.dim() == 4 and leaf.is_contiguous(memory_format=torch.channels_last):
            chosen = chosen.contiguous(memory_format=torch.channels_last)
        return chosen

    made: tuple[Any, Any] = tree_map(several, (args, kwargs))
    return made


def _run(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    graph = Graph(model)
    with _probing, _as_it_was(model):
        graph.add_inputs((args, kwargs))
        with graph:
            model(*args, **kwargs)
    return graph


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, without gradients; put everything back afterwards."""
    training = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, _version(buffer), buffer.detach().clone()) for buffer in model.buffers()]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    try:
        with (
            torch.random.fork_rng(devices=sorted(d.index or 0 for d in devices)),
            torch.no_grad(),
        ):
            evaluate(model)
            yield
    finally:
        for module, mode in training:
            module.training = mode
        for buffer, version, copy in buffers:
            if version is None or version != _version(buffer):
                with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                    buffer.copy_(copy)


def evaluate(model: nn.Module) -> None:
    """Switch to evaluation, also a program that was exported, which only takes its flags."""
    try:
        model.eval()
    except NotImplementedError:
        for module in model.modules():
            module.training = False


def _version(tensor: Tensor) -> int | None:
    """How often a tensor was written to; not counted for those made in inference mode."""
    return None if tensor.is_inference() else tensor._version
