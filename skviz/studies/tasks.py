"""The work on one task: batches made ahead, and rows put where they belong."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import torch

    from skviz.scenes.source import Scenes
    from skviz.studies.keeping import Variable

__all__ = ["ahead", "batch_size", "blanks", "fill"]

AHEAD = 2  # batches of scenes that wait, ready, for the model
PIXELS = 2**17  # of a batch on a CPU: 64 of 32², 8 of 96², 2 of 224²


def ahead(jobs: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Do the jobs one after the other in a thread, a few before their results are asked for."""
    waiting: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(1)
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def batch_size(scenes: Scenes, device: torch.device) -> int:
    """Return how many scenes go through a model at once, a power of two."""
    if device.type != "cpu":
        return 32
    fit = PIXELS // scenes.canvas**2
    return 2 ** int(np.log2(np.clip(fit, 1, 64)))


def blanks(variables: Mapping[str, Variable], scales: int, images: int) -> dict[str, np.ndarray]:
    """Return what a task keeps, with nothing in it yet."""
    return {name: variable.blank(scales, images) for name, variable in variables.items()}


def fill(
    arrays: dict[str, np.ndarray],
    variables: Mapping[str, Variable],
    rows: Sequence[Mapping[str, np.ndarray]],
    problems: Mapping[int, str],
    start: int,
    count: int,
) -> None:
    """Put what was measured of a part, scale by scale, where it belongs in its task."""
    there = [start + place for place in range(count) if place not in problems]
    for place, why in problems.items():
        arrays["problem"][start + place] = why
    for at, row in enumerate(rows):
        for name, values in row.items():
            variables[name].put(arrays[name], values, at, there)
